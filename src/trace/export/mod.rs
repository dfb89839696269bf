//! Sends finished spans to a collector: OTLP/HTTP or Zipkin. It runs on the control thread, one request at a time; everything that
//! waits for it is bounded (the lanes, as much again that was taken out of them, one batch), and what finds no room is counted.

mod answer;
mod endpoint;
mod examine;
mod fields;
mod followed;
mod link;
mod otlp;
mod pace;
mod proto;
mod rationed;
mod standing;
mod tls;
mod work;
mod zipkin;

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use self::answer::Verdict;
use self::examine::header_file;
use self::link::Link;
use self::pace::{PACE, Pace};
use self::standing::Account;
use self::work::{Batch, Work};
use super::lane::Lanes;
use super::span::Span;
use crate::config::{Exporter as Format, Traces};

pub(crate) use endpoint::Endpoint;
pub(crate) use examine::examine;
pub(crate) use standing::{Counts, Standing};

/// Takes spans out of the lanes and sends them.
#[derive(Debug)]
pub(crate) struct Exporter {
    format: Format,
    endpoint: Endpoint,
    resource: Resource,
    lanes: Lanes,
    account: Account,
    pace: Pace,
    /// Held by whoever exports.
    work: Mutex<Work>,
}

/// Whose spans these are.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// `service.name`
    pub(crate) service: String,
    /// `host.name`: in Kubernetes the pod's.
    pub(crate) host: Option<String>,
}

impl Exporter {
    pub(crate) fn new(traces: &Traces, resource: Resource, lanes: Lanes) -> Self {
        Self::with_pace(traces, resource, lanes, PACE)
    }

    fn with_pace(traces: &Traces, resource: Resource, lanes: Lanes, pace: Pace) -> Self {
        let fields = traces.header_file.as_deref().map(header_file);
        Self {
            format: traces.exporter,
            endpoint: traces.endpoint.clone(),
            resource,
            lanes,
            account: Account::default(),
            pace,
            work: Mutex::new(Work {
                link: Link::new(traces),
                fields,
                waiting: VecDeque::new(),
                batch: None,
                pause: pace.pause.0,
            }),
        }
    }

    /// Where workers put spans.
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Spans by what became of them.
    pub(crate) fn counts(&self) -> Counts {
        self.account.counts(self.lanes.dropped())
    }

    /// All that there is to know.
    pub(crate) fn standing(&self) -> Standing {
        let (failing_since, last_error) = self.account.trouble();
        Standing {
            exporter: self.format.word(),
            endpoint: self.endpoint.to_string(),
            counts: self.counts(),
            failing_since,
            last_error,
        }
    }

    /// Exports until somebody else is done, and then what is left: once, which delays the end by a moment at most.
    pub(crate) async fn beside<T>(&self, other: impl Future<Output = T>) -> T {
        let mut work = self.work.lock().await;
        // Over when its sender is dropped.
        let (going_on, end) = watch::channel(());
        let others = async {
            let done = other.await;
            drop(going_on);
            done
        };
        let mine = async {
            let late = async {
                ended(end.clone()).await;
                sleep(self.pace.last).await;
            };
            tokio::select! {
                () = self.keep(&mut work, end.clone()) => {}
                () = late => {}
            }
        };
        let (done, ()) = tokio::join!(others, mine);
        self.settle(&mut work);
        done
    }

    /// A dead collector costs the time of a few tries for each batch; meanwhile the lanes fill up, and then spans are dropped. What
    /// is being sent when the end comes is not broken off: the collector may have it already.
    async fn keep(&self, work: &mut Work, end: watch::Receiver<()>) {
        let mut end = pin!(ended(end));
        loop {
            tokio::select! {
                () = sleep(self.pace.every) => {}
                () = self.lanes.filling() => {}
                () = &mut end => break,
            }
            while self.make_ready(work) {
                let Some(pause) = self.attempt(work).await else {
                    continue;
                };
                tokio::select! {
                    () = sleep(pause) => {}
                    () = &mut end => return self.flush(work).await,
                }
            }
        }
        self.flush(work).await;
    }

    /// The workers are gone, and so may the collector be.
    async fn flush(&self, work: &mut Work) {
        while self.make_ready(work) && self.attempt(work).await.is_none() {}
    }

    /// Counts what could not be sent any more.
    fn settle(&self, work: &mut Work) {
        let batch = work.batch.take().map_or(0, |batch| batch.spans);
        let rest = work.waiting.len() + self.lanes.take().len();
        work.waiting.clear();
        let left = batch + rest as u64;
        if left > 0 {
            self.account.failed(left);
            tracing::warn!(collector = %self.endpoint, spans = left, "traces: spans are lost: the collector did not take them before the end");
        }
    }

    /// Whether there is a batch to send: the one that was not taken yet, or the next.
    fn make_ready(&self, work: &mut Work) -> bool {
        if work.batch.is_none() {
            // Room in the lanes is made while little waits here, so that what waits in all stays bounded.
            if work.waiting.len() < work::MOST_SPANS {
                work.waiting.extend(self.lanes.take());
            }
            let spans = work.next();
            work.batch = (!spans.is_empty()).then(|| self.batch(spans));
        }
        work.batch.is_some()
    }

    fn batch(&self, spans: Vec<Span>) -> Batch {
        let count = spans.len() as u64;
        let body = match self.format {
            Format::Otlp => otlp::encode(&self.resource, spans),
            Format::Zipkin => zipkin::encode(&self.resource, &spans),
        };
        Batch {
            body: body.into(),
            spans: count,
            tries: 0,
        }
    }

    /// Bytes of the request that would be made of these.
    #[cfg(feature = "bench")]
    pub(crate) fn encode(&self, spans: Vec<Span>) -> usize {
        self.batch(spans).body.len()
    }

    /// Sends the batch once. How long to wait before the next try, where there should be a wait.
    async fn attempt(&self, work: &mut Work) -> Option<Duration> {
        let batch = work.batch.as_mut()?;
        batch.tries += 1;
        let (spans, tries, body) = (batch.spans, batch.tries, batch.body.clone());
        match self.verdict(work, body).await {
            Verdict::Later(why, after) => {
                self.account.is_ill(&self.endpoint, why);
                if tries >= MOST_TRIES {
                    work.batch = None;
                    self.account.failed(spans);
                }
                return Some(work.wait(after, self.pace.pause.1));
            }
            Verdict::Refused(why) => {
                self.account.rejected(spans);
                self.account.is_ill(&self.endpoint, why);
            }
            Verdict::Taken(Some((count, why))) => {
                let count = count.min(spans);
                self.account.rejected(count);
                self.account.exported(spans - count);
                let why = format!("it did not take {count} spans of {spans} ({why})");
                self.account.is_well(&self.endpoint);
                self.account.is_choosy(&self.endpoint, why);
            }
            Verdict::Taken(None) => {
                self.account.exported(spans);
                self.account.is_well(&self.endpoint);
            }
            Verdict::TakenOddly => {
                self.account.exported(spans);
                self.account.is_well(&self.endpoint);
                self.account.is_odd(&self.endpoint);
            }
        }
        work.batch = None;
        work.pause = self.pace.pause.0;
        None
    }

    async fn verdict(&self, work: &mut Work, body: Bytes) -> Verdict {
        let fields = match &mut work.fields {
            None => HeaderMap::new(),
            Some(file) => match timeout(self.pace.export, file.read()).await {
                Ok(Ok(fields)) => fields,
                Ok(Err(why)) => return Verdict::Later(why, None),
                Err(_) => {
                    return Verdict::Later("reading --trace-header-file hangs".to_owned(), None);
                }
            },
        };
        let Some(request) = self.request(fields, body) else {
            return Verdict::Refused("the endpoint makes no request".to_owned());
        };
        match work.link.ask(&request, &self.pace).await {
            Ok(answer) => answer.judge(self.format),
            Err(why) => Verdict::Later(why, None),
        }
    }

    fn request(&self, fields: HeaderMap, body: Bytes) -> Option<Request<Bytes>> {
        let kind = match self.format {
            Format::Otlp => otlp::CONTENT_TYPE,
            Format::Zipkin => zipkin::CONTENT_TYPE,
        };
        let mut request = Request::post(self.endpoint.path.as_str())
            .header(header::HOST, self.endpoint.authority())
            .body(body)
            .ok()?;
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.extend(fields);
        Some(request)
    }
}

async fn ended(mut going_on: watch::Receiver<()>) {
    while going_on.changed().await.is_ok() {}
}

/// For what is left at the end.
pub(crate) const LAST_SPANS: Duration = Duration::from_secs(1);
/// After so many a batch is lost.
const MOST_TRIES: u32 = 5;
/// Bytes of a `--trace-header-file`.
const MOST_FIELDS: u64 = 16 * 1024;
const AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests;
