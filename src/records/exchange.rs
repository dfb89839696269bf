//! One request and its response, from the first byte of the head to the last of the body. Whatever happens, dropping it
//! leaves exactly one record.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use uuid::Uuid;

use super::asked::Asked;
use super::event;
use super::id::new_id;
use super::inflight::Open;
use crate::conn::Conn;
use crate::failure::Reason;
use crate::http::RequestProgress;
use crate::phase::Phase;
use crate::places::Place;
use crate::trace::Trace;
use crate::upstream::Target;

/// An exchange in progress. Boxed: it goes from stage to stage, and each would keep room for it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(super) conn: Rc<Conn>,
    pub(super) id: Uuid,
    pub(super) time: SystemTime,
    pub(super) started: Instant,
    /// As much of the request as could be read.
    pub(super) asked: Option<Rc<Asked>>,
    /// The client, where a trusted proxy has named one.
    pub(super) client: Option<Rc<str>>,
    /// A trusted proxy has sent it.
    pub(super) is_believed: bool,
    /// Where a trusted proxy has given one.
    pub(super) request_id: Option<HeaderValue>,
    pub(super) status: Option<StatusCode>,
    pub(super) bytes_out: u64,
    pub(super) target: Option<Arc<Target>>,
    pub(super) upstream: Option<Rc<str>>,
    pub(super) retries: u64,
    pub(super) connect: Option<Duration>,
    pub(super) sent_upstream: Option<Instant>,
    /// From the last movement of the request to the head of the response.
    upstream_took: Option<Duration>,
    pub(super) first_byte: Option<Instant>,
    /// Where traces are exported, and it was a request.
    pub(super) trace: Option<Box<Trace>>,
    progress: Rc<RequestProgress>,
    outcome: Outcome,
    /// Its place among the requests in flight.
    place: Option<Place>,
    /// Where it stands among those in flight.
    key: usize,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Open,
    Finished,
    Failed(Reason),
}

impl Exchange {
    /// Opens an exchange that began at `started`.
    pub(crate) fn open(conn: &Rc<Conn>, started: Instant) -> Box<Self> {
        // It began with the first byte of its head, which may be a while ago.
        let now = SystemTime::now();
        let time = now.checked_sub(started.elapsed()).unwrap_or(now);
        conn.tenure.count();
        let (id, progress) = (new_id(time), Rc::<RequestProgress>::default());
        let site = &conn.site;
        let key = site.inflight.add(Open {
            id,
            started,
            conn: Rc::clone(conn),
            progress: Rc::clone(&progress),
            asked: None,
            client: None,
            is_tunnel: false,
        });
        site.meter.conns.in_flight(site.inflight.count());
        Box::new(Self {
            conn: Rc::clone(conn),
            id,
            time,
            started,
            asked: None,
            client: None,
            is_believed: false,
            request_id: None,
            status: None,
            bytes_out: 0,
            target: None,
            upstream: None,
            retries: 0,
            connect: None,
            sent_upstream: None,
            upstream_took: None,
            first_byte: None,
            trace: None,
            progress,
            outcome: Outcome::Open,
            place: None,
            key,
        })
    }

    /// Notes the request, as the client sent it.
    pub(crate) fn request(
        &mut self,
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
    ) {
        let site = &self.conn.site;
        if let Some(tracer) = &site.tracer {
            let peer = self.conn.client.ip();
            let peer = (!self.conn.is_unnamed).then_some(peer);
            self.trace = Some(Box::new(tracer.begin(headers, peer)));
        }
        let is_traced = self.trace.is_some();
        let asked = Asked::new(method, uri, version, headers, &site.policy, is_traced);
        self.asked(asked);
    }

    fn asked(&mut self, asked: Asked) {
        let asked = Rc::new(asked);
        self.asked = Some(Rc::clone(&asked));
        let inflight = &self.conn.site.inflight;
        inflight.change(self.key, |open| open.asked = Some(asked));
    }

    /// Opens the exchange of what never became a request that could be read.
    pub(crate) fn open_unread(conn: &Rc<Conn>, version: Version) -> Box<Self> {
        let mut exchange = Self::open(conn, Instant::now());
        exchange.asked(Asked::unread(version));
        exchange
    }

    /// Opens the exchange of a head that was refused before anything parsed it, with what can be read of it.
    pub(crate) fn open_refused(conn: &Rc<Conn>, started: Instant, bytes: &[u8]) -> Box<Self> {
        let mut exchange = Self::open(conn, started);
        exchange.asked(Asked::refused(bytes));
        exchange
    }

    /// The id, which is also the request's.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn conn(&self) -> &Rc<Conn> {
        &self.conn
    }

    pub(crate) fn progress(&self) -> Rc<RequestProgress> {
        Rc::clone(&self.progress)
    }

    /// Whether the client speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        let asked = self.asked.as_ref();
        asked.is_some_and(|asked| asked.version == Some(Version::HTTP_2))
    }

    /// The authority that the client has asked for.
    pub(crate) fn host(&self) -> Option<&HeaderValue> {
        self.asked.as_ref()?.host.as_ref()
    }

    /// Notes what a trusted proxy has said, if one has: whom the request is from, and its id.
    pub(crate) fn is_for(
        &mut self,
        is_believed: bool,
        client: Option<IpAddr>,
        request_id: Option<HeaderValue>,
    ) {
        (self.is_believed, self.request_id) = (is_believed, request_id);
        if let Some(client) = client {
            let client: Rc<str> = client.to_string().into();
            self.client = Some(Rc::clone(&client));
            let inflight = &self.conn.site.inflight;
            inflight.change(self.key, |open| open.client = Some(client));
        }
    }

    /// From here on both sides speak another protocol.
    pub(crate) fn is_tunnel(&mut self) {
        self.place = None;
        let inflight = &self.conn.site.inflight;
        inflight.change(self.key, |open| open.is_tunnel = true);
    }

    /// It is one of the requests in flight, until it is over.
    pub(crate) fn takes(&mut self, place: Place) {
        self.place = Some(place);
    }

    pub(crate) fn bound_for(&mut self, target: &Arc<Target>) {
        self.target = Some(Arc::clone(target));
    }

    /// A new connection to the application took so long.
    pub(crate) fn connected(&mut self, took: Duration) {
        self.connect = Some(took);
    }

    /// The request is on its way to the application.
    pub(crate) fn sent_to(&mut self, address: Option<Rc<str>>) {
        let now = Instant::now();
        if let Some(trace) = &mut self.trace {
            let connecting = self.connect.unwrap_or_default();
            let began = now.checked_sub(connecting).unwrap_or(now);
            trace.sent(began, address.clone());
        }
        self.upstream = address;
        self.sent_upstream = Some(now);
    }

    /// What was sent came to nothing, for this reason, and it is to be sent again.
    pub(crate) fn retried(&mut self, why: &'static str) {
        self.retries += 1;
        if let Some(trace) = &mut self.trace {
            trace.failed(why);
        }
    }

    /// The response has this status.
    pub(crate) fn respond(&mut self, status: StatusCode) {
        let now = Instant::now();
        self.upstream_took = self.upstream_took(now);
        self.status = Some(status);
        self.first_byte = Some(now);
    }

    /// How long the application has taken up to now for what it had to do: a client that sends slowly is not its fault.
    pub(super) fn upstream_took(&self, now: Instant) -> Option<Duration> {
        self.upstream_took.or_else(|| {
            let sent = self.sent_upstream?;
            let moved = self.progress.moved().unwrap_or(sent);
            Some(now.saturating_duration_since(sent.max(moved)))
        })
    }

    /// Whether it may last for as long as both sides want.
    pub(super) fn is_endless(&self) -> bool {
        self.progress.is_response_exempt()
    }

    /// So many bytes of body went to the client.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    /// The response is whole.
    pub(crate) fn finish(mut self: Box<Self>) {
        if matches!(self.outcome, Outcome::Open) {
            self.outcome = Outcome::Finished;
        }
    }

    /// It failed; the first reason counts.
    pub(crate) fn fail(&mut self, reason: Reason) {
        if matches!(self.outcome, Outcome::Open) {
            self.outcome = Outcome::Failed(reason);
        }
    }

    pub(super) fn bytes_in(&self) -> u64 {
        self.progress.bytes()
    }

    /// Why it failed, or none when it is whole. One that was dropped half way was left by somebody.
    pub(super) fn reason(&self) -> Option<Reason> {
        match self.outcome {
            Outcome::Finished => None,
            Outcome::Failed(reason) => Some(reason),
            Outcome::Open if std::thread::panicking() => Some(Reason::Internal),
            Outcome::Open if self.conn.site.life.phase() >= Phase::Cutting => {
                Some(Reason::DrainCut)
            }
            Outcome::Open if self.conn.cut.get().is_some() => self.conn.cut.get(),
            Outcome::Open => Some(self.progress.failed().unwrap_or(Reason::ClientGone)),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        event::exchange(self);
        let site = &self.conn.site;
        site.inflight.remove(self.key);
        site.meter.conns.in_flight(site.inflight.count());
    }
}
