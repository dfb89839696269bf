//! The one connection to the collector, kept between two exports, and one exchange on it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::{Answer, retry_after};
use super::rationed::{Ration, Rationed};
use super::tls::Tls;
use super::{Endpoint, Pace};
use crate::causes::with_causes;
use crate::config::Traces;

/// The way to the collector.
#[derive(Debug)]
pub(super) struct Link {
    endpoint: Endpoint,
    tls: Option<Tls>,
    kept: Option<Open>,
}

/// A connection, which is closed when this is dropped.
#[derive(Debug)]
struct Open {
    sender: http1::SendRequest<Full<Bytes>>,
    /// What the collector may say in one exchange.
    ration: Ration,
    driver: JoinHandle<()>,
}

/// Why there is no answer.
struct Broken {
    why: String,
    /// The connection went away before there was anything of an answer.
    is_lost: bool,
}

impl Link {
    pub(super) fn new(traces: &Traces) -> Self {
        let endpoint = traces.endpoint.clone();
        Self {
            tls: traces.ca.as_ref().map(|ca| Tls::new(&endpoint, ca)),
            endpoint,
            kept: None,
        }
    }

    /// Sends a request, and reads what comes back.
    ///
    /// # Errors
    /// Why there is no answer, in words; it may be worth trying again.
    pub(super) async fn ask(
        &mut self,
        request: &Request<Bytes>,
        pace: &Pace,
    ) -> Result<Answer, String> {
        let deadline = Instant::now() + pace.export;
        let asked = timeout_at(deadline, self.asked(request, deadline, pace.connect)).await;
        let late = |_| format!("no answer within {:?}", pace.export);
        let asked = asked.map_err(late).flatten();
        asked.map_err(|why| format!("{why}{}", self.hint()))
    }

    /// One that was kept may turn out to be closed: that is no failure of the collector's.
    async fn asked(
        &mut self,
        request: &Request<Bytes>,
        deadline: Instant,
        connect: Duration,
    ) -> Result<Answer, String> {
        if let Some(open) = self.kept.take().filter(|open| !open.sender.is_closed()) {
            match self.exchange(open, request, deadline).await {
                Err(Broken { is_lost: true, .. }) => {}
                done => return done.map_err(|broken| broken.why),
            }
        }
        let limit = deadline.min(Instant::now() + connect);
        let opened = timeout_at(limit, self.open(connect)).await;
        let open =
            opened.map_err(|_| format!("connecting took longer than {connect:?}{THERE}"))??;
        let done = self.exchange(open, request, deadline).await;
        done.map_err(|broken| broken.why)
    }

    async fn exchange(
        &mut self,
        mut open: Open,
        request: &Request<Bytes>,
        deadline: Instant,
    ) -> Result<Answer, Broken> {
        open.ration.renew();
        open.sender.ready().await.map_err(|error| broken(&error))?;
        let sent = open.sender.send_request(request.clone().map(Full::new));
        let (head, body) = sent.await.map_err(|error| broken(&error))?.into_parts();
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let kind = text(header::CONTENT_TYPE).unwrap_or_default();
        let mut answer = Answer {
            status: head.status,
            kind: kind.to_ascii_lowercase(),
            retry_after: text(header::RETRY_AFTER).and_then(retry_after),
            body: Vec::new(),
        };
        // The status is the answer; what is said to it is not waited for for long.
        let early = deadline.checked_sub(MOMENT).unwrap_or(deadline);
        let early = early.min(Instant::now() + WORDS);
        let read = timeout_at(early, gather(body, &mut answer.body)).await;
        if read == Ok(true) {
            self.kept = Some(open);
        }
        Ok(answer)
    }

    async fn open(&mut self, limit: Duration) -> Result<Open, String> {
        let stream = self.connect(limit).await?;
        let Some(tls) = &mut self.tls else {
            return shake(stream).await;
        };
        shake(tls.secure(stream).await?).await
    }

    /// Each address has its share of the time: one that never answers does not keep the next from being asked.
    async fn connect(&self, limit: Duration) -> Result<TcpStream, String> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let addresses: Vec<SocketAddr> = match self.endpoint.addresses() {
            Some(known) => known.into_iter().map(|ip| (ip, *port).into()).collect(),
            None => lookup_host((&**host, *port))
                .await
                .map_err(|error| format!("looking up {host}: {error}"))?
                .take(MOST_ADDRESSES)
                .collect(),
        };
        let mut failure = format!("{host} has no address");
        let share = limit / addresses.len().max(1) as u32;
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // It fails only on a dead socket.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = format!("connecting to {address}: {error}{THERE}"),
                Err(_) => failure = format!("connecting to {address}: no answer within {share:?}"),
            }
        }
        Err(failure)
    }

    /// The port of OTLP over gRPC is the usual mistake.
    fn hint(&self) -> &'static str {
        if self.endpoint.is_for_grpc() {
            "; 4317 is OTLP's port for gRPC, and OTLP/HTTP is 4318"
        } else {
            ""
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn shake<S>(stream: S) -> Result<Open, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let ration = Ration::new();
    let shaken = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(Rationed::new(stream, ration.clone())));
    let (sender, connection) = shaken.await.map_err(|error| with_causes(&error))?;
    let driver = tokio::spawn(async move {
        // Whoever asks is told.
        let _ = connection.await;
    });
    Ok(Open {
        sender,
        ration,
        driver,
    })
}

/// Whether all of it was read.
async fn gather(mut body: Incoming, to: &mut Vec<u8>) -> bool {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let data = frame.data_ref().map_or(&[][..], |data| data);
        let room = MOST_BODY - to.len();
        to.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return false;
        }
    }
    true
}

fn broken(error: &hyper::Error) -> Broken {
    let is_lost = error.is_canceled() || error.is_closed() || error.is_incomplete_message();
    let reset = std::error::Error::source(error)
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .is_some();
    let why = if error.is_parse() {
        "what it answered is not HTTP/1.1".to_owned()
    } else {
        format!("the connection broke: {}", with_causes(error))
    };
    Broken {
        why,
        is_lost: is_lost || reset,
    }
}

/// Bytes of an answer: its head, its body.
const MOST_HEAD: usize = 64 * 1024;
const MOST_BODY: usize = 64 * 1024;
/// Of a name.
const MOST_ADDRESSES: usize = 8;
/// For the body of an answer.
const WORDS: Duration = Duration::from_millis(500);
/// Before the deadline, so that a status is not lost with its body.
const MOMENT: Duration = Duration::from_millis(100);
const THERE: &str = "; does the collector listen there?";
