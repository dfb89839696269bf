//! One request to the application and its response back. `h1` and `h2` send it as the target speaks, `upgrade` where both
//! sides go on in another protocol; `wait` is the waiting that is common to all.

mod again;
mod framing;
mod h1;
mod h2;
mod upgrade;
mod wait;

use std::rc::Rc;
use std::time::Duration;

use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Body;
use uuid::fmt::Hyphenated;

use crate::conn::Conn;
use crate::failure::Reason;
use crate::headers::{self, OwnWords, is_grpc};
use crate::http::{BodyGate, RequestBody, ResponseBody, Source, refuse};
use crate::records::Exchange;
use crate::upstream::{Protocol, Target};
use crate::worker::Worker;
use again::{SPOOL_PATIENCE, is_repeatable, keep_short};
use framing::length;
use upgrade::Upgrade;

/// The client is gone, or must be made to notice: there is nobody to answer.
#[derive(Debug, thiserror::Error)]
#[error("the exchange ended without an answer")]
pub(crate) struct Unanswerable;

/// Forwards a request, or answers it with the reason why not. The exchange's record is closed by the response's body.
pub(crate) async fn forward(
    mut request: Box<Request<RequestBody>>,
    mut exchange: Box<Exchange>,
    worker: Rc<Worker>,
) -> Result<Response<ResponseBody>, Unanswerable> {
    #[cfg(debug_assertions)]
    crate::panics::where_wanted(request.uri().path());
    let Some(place) = worker.admit() else {
        return refuse(Reason::Overloaded, exchange).ok_or(Unanswerable);
    };
    exchange.takes(place);
    let target = worker.target();
    exchange.bound_for(&target);
    let mut upgrade = None;
    let gate = gate(&mut request);
    let is_patient = is_patient(request.headers());
    if is_grpc(request.headers()) && target.url.protocol() == Protocol::H2c {
        exchange.progress().exempt_request();
    }
    let answered = match prepare(&mut request, &mut exchange, &worker, &target) {
        Ok(wanted) => {
            let mut errand = Errand {
                exchange: &mut exchange,
                worker: &worker,
                target: &target,
                gate: gate.as_deref(),
                is_patient,
            };
            upgrade = wanted;
            errand.run(request, upgrade.as_mut()).await
        }
        Err(reason) => Err(reason),
    };
    let mut response = match answered {
        Ok(response) => deliver(response, upgrade.as_ref(), exchange, gate.clone(), &worker),
        Err(reason) => refuse(reason, exchange).ok_or(Unanswerable)?,
    };
    if gate.is_some_and(|gate| !gate.is_open()) {
        // The client may send its body all the same, or not; what follows the answer cannot be told from it.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    if let Some(hsts) = worker.config.hsts {
        headers::insist_on_https(response.headers_mut(), hsts);
    }
    Ok(response)
}

/// Makes the application's response one for the client.
fn deliver(
    response: Response<Source>,
    upgrade: Option<&Upgrade>,
    mut exchange: Box<Exchange>,
    gate: Option<Rc<BodyGate>>,
    worker: &Worker,
) -> Response<ResponseBody> {
    let (mut head, source) = response.into_parts();
    exchange.answered(head.status, &head.headers);
    headers::to_downstream(head.status, &mut head.headers);
    if let (Source::Tunnel(..), Some(upgrade)) = (&source, upgrade) {
        upgrade.answer(&mut head);
    }
    if let (true, Some(host)) = (worker.config.fix_redirects, exchange.host()) {
        headers::fix_redirects(&mut head.headers, host);
    }
    if is_endless(&source, &head.headers) {
        exchange.progress().exempt_request();
        exchange.progress().exempt_response();
        // It gives its place back to those that come and go.
        if let Some(place) = worker.let_last() {
            exchange.takes(place);
        }
    }
    exchange.respond(head.status);
    // The application's version is its own business; an old one must not cost the client its connection.
    head.version = Version::HTTP_11;
    let length = match &source {
        Source::H2(..) => length(&head.headers),
        _ => None,
    };
    let body = ResponseBody::new(source, exchange, gate, length);
    Response::from_parts(head, body)
}

/// A client that wants to be asked for its body (RFC 9110, section 10.1.1) waits until the application asks.
fn gate(request: &mut Request<RequestBody>) -> Option<Rc<BodyGate>> {
    let expects = request.headers().get(EXPECT)?;
    let is_known = expects.as_bytes().eq_ignore_ascii_case(b"100-continue");
    let has_body = !request.body().is_end_stream();
    if !has_body || request.version() == Version::HTTP_10 {
        // There is nothing to ask for, or nobody who would understand the question.
        request.headers_mut().remove(EXPECT);
        return None;
    }
    let gate = is_known.then(Rc::<BodyGate>::default)?;
    request.body_mut().wait_at(Rc::clone(&gate));
    Some(gate)
}

fn prepare(
    request: &mut Request<RequestBody>,
    exchange: &mut Exchange,
    worker: &Worker,
    target: &Target,
) -> Result<Option<Upgrade>, Reason> {
    let conn = Rc::clone(exchange.conn());
    admit(request, &conn, worker)?;
    measure(request, worker.config.limits.max_body)?;
    let upgrade = upgrade::wanted(request)?;
    let id = exchange.id().hyphenated();
    let mut buffer = [0; Hyphenated::LENGTH];
    let own = OwnWords {
        peer: conn.client.ip(),
        trusted: (!conn.is_unnamed).then_some(&worker.config.trusted_proxies),
        request_id: id.encode_lower(&mut buffer),
        proto: if conn.tls.is_some() { "https" } else { "http" },
        public_port: worker.config.redirect_port,
        default_host: target.url.authority(),
        phrases: &worker.phrases,
        client_certificate: conn.peer.as_ref().and_then(|peer| peer.forwarded.as_ref()),
    };
    let said = headers::to_upstream(request, &own)?;
    if said.disguised > 0 {
        worker.site.meter.disguised(said.disguised);
    }
    exchange.is_for(said.is_believed, said.client, said.request_id);
    let host = || request.headers().get(HOST).and_then(headers::name);
    let tls = conn.tls.as_ref();
    if tls.is_some_and(|tls| tls.is_misdirected(host)) {
        return Err(Reason::Misdirected);
    }
    exchange.asks(request.headers_mut());
    Ok(upgrade)
}

/// Whether this client may ask for this: what the handshake could not decide, because it did not know the path, or because
/// it was long ago.
fn admit(request: &mut Request<RequestBody>, conn: &Conn, worker: &Worker) -> Result<(), Reason> {
    if conn.tenure.is_distrusted() {
        return Err(Reason::ClientNotTrusted);
    }
    let exempt = &worker.config.client_auth_exempt;
    // What comes in clear and got here was let through by name.
    if exempt.is_empty() || conn.peer.is_some() || conn.tls.is_none() {
        return Ok(());
    }
    // As it stands: what the application might make of dots and escapes is not exempt.
    if !exempt.iter().any(|path| path == request.uri().path()) {
        return Err(Reason::ClientCertificateMissing);
    }
    headers::strip_other_paths(request.headers_mut());
    Ok(())
}

/// A body that says it is too large is refused at once, and one that does not say is watched.
fn measure(request: &mut Request<RequestBody>, most: Option<u64>) -> Result<(), Reason> {
    let Some(most) = most else { return Ok(()) };
    if length(request.headers()).is_some_and(|length| length > most) {
        return Err(Reason::BodyTooLarge);
    }
    request.body_mut().limit(most);
    Ok(())
}

/// Whether its response may take as long as it wants: RPCs and event streams.
fn is_patient(request: &HeaderMap) -> bool {
    let accept = request.get(ACCEPT);
    accept.is_some_and(|accept| accept.as_bytes().starts_with(EVENTS)) || is_grpc(request)
}

/// Whether a response may be silent for as long as it wants.
fn is_endless(source: &Source, response: &HeaderMap) -> bool {
    let kind = response.get(CONTENT_TYPE);
    matches!(source, Source::Tunnel(..))
        || kind.is_some_and(|kind| kind.as_bytes().starts_with(EVENTS))
        || is_grpc(response)
}

/// A request that is to be taken to the application.
struct Errand<'a> {
    exchange: &'a mut Exchange,
    worker: &'a Rc<Worker>,
    target: &'a Target,
    /// Where its body waits to be asked for.
    gate: Option<&'a BodyGate>,
    /// Its response may take as long as it wants.
    is_patient: bool,
}

impl Errand<'_> {
    async fn run(
        &mut self,
        mut request: Box<Request<RequestBody>>,
        upgrade: Option<&mut Upgrade>,
    ) -> Result<Response<Source>, Reason> {
        // Boxed is what most requests do not need: each of them would be moved with the room for it.
        match (self.target.url.protocol(), upgrade) {
            (Protocol::Http1, None) => {
                if self.is_to_be_gathered(&request) {
                    let most = self.worker.config.limits.spool;
                    let body = request.body_mut();
                    Box::pin(body.gather(most, SPOOL_PATIENCE)).await;
                }
                headers::frame(&mut request);
                h1::ask(request, self).await
            }
            (Protocol::Http1, Some(upgrade)) => {
                Box::pin(upgrade::over_h1(request, upgrade, self)).await
            }
            (Protocol::H2c, None) => Box::pin(h2::ask(request, self)).await,
            (Protocol::H2c, Some(upgrade)) => {
                Box::pin(upgrade::over_h2(request, upgrade, self)).await
            }
        }
    }

    /// Old applications read a body by its length or not at all, and HTTP/2 clients need not tell it.
    fn is_to_be_gathered(&self, request: &Request<RequestBody>) -> bool {
        self.exchange.is_http2()
            && self.worker.config.limits.spool > 0
            && !request.body().is_end_stream()
            && !request.headers().contains_key(CONTENT_LENGTH)
            && self.gate.is_none()
            && !is_grpc(request.headers())
    }

    /// How long to wait for the head of the response.
    fn limit(&self) -> Option<Duration> {
        (!self.is_patient).then_some(self.worker.config.limits.response_timeout)
    }
}

/// A kept connection to the application had ended when it was used again.
const STALE: &str = "upstream_stale";
const EVENTS: &[u8] = b"text/event-stream";
