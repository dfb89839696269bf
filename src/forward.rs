//! One request to the application and its response back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::timeout;
use uuid::fmt::Hyphenated;

use crate::failure::Reason;
use crate::headers::{self, OwnWords};
use crate::http::{RequestBody, ResponseBody, refuse};
use crate::records::Exchange;
use crate::upstream::{Lease, Target, dial};
use crate::worker::Worker;

/// The client is gone, or must be made to notice: there is nobody to answer.
#[derive(Debug, thiserror::Error)]
#[error("the exchange ended without an answer")]
pub(crate) struct Unanswerable;

/// Forwards a request, or answers it with the reason why not. The exchange's record is closed by the response's body.
pub(crate) async fn forward(
    mut request: Request<RequestBody>,
    mut exchange: Exchange,
    worker: Rc<Worker>,
) -> Result<Response<ResponseBody>, Unanswerable> {
    let target = worker.target();
    exchange.bound_for(&target);
    if let Err(reason) = prepare(&mut request, &exchange, &worker, &target) {
        return refuse(reason, exchange).ok_or(Unanswerable);
    }
    match ask(request, &mut exchange, &worker, &target).await {
        Ok((response, lease)) => {
            exchange.respond(response.status());
            let (mut head, body) = response.into_parts();
            headers::to_downstream(head.status, &mut head.headers, worker.config.hsts);
            Ok(Response::from_parts(
                head,
                ResponseBody::upstream(body, lease, exchange),
            ))
        }
        Err(reason) => refuse(reason, exchange).ok_or(Unanswerable),
    }
}

fn prepare(
    request: &mut Request<RequestBody>,
    exchange: &Exchange,
    worker: &Worker,
    target: &Target,
) -> Result<(), Reason> {
    let id = exchange.id().hyphenated();
    let mut buffer = [0; Hyphenated::LENGTH];
    let own = OwnWords {
        client: exchange.conn().client.ip(),
        request_id: id.encode_lower(&mut buffer),
        public_port: worker.config.redirect_port,
        default_host: target.url.authority(),
    };
    headers::to_upstream(request, &own)
}

/// Sends the request and waits for the head of the response.
///
/// A kept connection may have been closed by the application just now, and whoever used it would get a 502 for nothing. A
/// request that can be sent again is, once, on a connection that is new and therefore cannot be stale: one that hyper
/// hands back because it never got onto the wire, and one without a body whose method is idempotent (RFC 9110, section
/// 9.2.2), when the connection ended before there was an answer.
async fn ask(
    mut request: Request<RequestBody>,
    exchange: &mut Exchange,
    worker: &Rc<Worker>,
    target: &Target,
) -> Result<(Response<Incoming>, Lease), Reason> {
    let mut fresh = false;
    loop {
        let mut lease = lease(exchange, worker, target, fresh).await?;
        exchange.sent_to(lease.address());
        let again = if lease.reused {
            copy(&request, exchange)
        } else {
            None
        };
        let sent = lease.sender().try_send_request(request);
        let mut error = match answer(sent, exchange, worker.config.limits.response_timeout).await? {
            Ok(response) if is_framed_once(&response) => return Ok((response, lease)),
            Ok(_) => return Err(Reason::UpstreamMalformed),
            Err(error) => error,
        };
        let unsent = error.take_message();
        let error = error.into_error();
        match unsent.or_else(|| again.filter(|_| is_stale(&error))) {
            Some(same) if lease.reused && !fresh => {
                (request, fresh) = (same, true);
                exchange.retried();
                worker.site.meter.retried();
            }
            _ => return Err(sort(&error, exchange)),
        }
    }
}

/// Waits for the head of the response. The limit runs while nothing moves: a slow upload is legitimate.
async fn answer<T>(
    sent: impl Future<Output = T>,
    exchange: &Exchange,
    limit: Duration,
) -> Result<T, Reason> {
    let mut sent = pin!(sent);
    let progress = exchange.progress();
    let mut before = progress.passed();
    loop {
        if let Ok(answered) = timeout(limit, sent.as_mut()).await {
            return Ok(answered);
        }
        let now = progress.passed();
        if now == before {
            return Err(Reason::UpstreamTimeout);
        }
        before = now;
    }
}

/// The same request once more, if it may be sent twice.
fn copy(request: &Request<RequestBody>, exchange: &Exchange) -> Option<Request<RequestBody>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(RequestBody::empty(exchange.progress()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Whether the connection ended, as opposed to: what came over it was wrong.
fn is_stale(error: &hyper::Error) -> bool {
    let is_io =
        std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>());
    !error.is_parse()
        && (error.is_incomplete_message() || error.is_canceled() || error.is_closed() || is_io)
}

/// Promise 4: what the application sends must be readable in one way, too. hyper reads a response with both framings as
/// chunked, a client might read it by its length; and a 101 that nobody asked for would end HTTP on the connection.
fn is_framed_once(response: &Response<Incoming>) -> bool {
    let headers = response.headers();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_framed_once = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && !headers.contains_key(CONTENT_LENGTH)
        }
        (Some(_), Some(_)) => false,
    };
    is_framed_once && response.status() != StatusCode::SWITCHING_PROTOCOLS
}

/// A connection that can take a request now.
async fn lease(
    exchange: &mut Exchange,
    worker: &Rc<Worker>,
    target: &Target,
    fresh: bool,
) -> Result<Lease, Reason> {
    if !fresh && let Some(lease) = worker.pool.take(target.number) {
        return Ok(lease);
    }
    let began = Instant::now();
    let dialed = dial(target, &worker.own, &worker.config.limits).await;
    exchange.connected(began.elapsed());
    let mut lease = worker
        .pool
        .lease(dialed.map_err(|error| error.reason())?, target.number);
    poll_fn(|cx| lease.sender().poll_ready(cx))
        .await
        .map_err(|_| Reason::UpstreamClosed)?;
    Ok(lease)
}

/// Whose fault a failed request is: a client that broke its own body is not the application's failure.
fn sort(error: &hyper::Error, exchange: &Exchange) -> Reason {
    if let Some(reason) = exchange.progress().failed() {
        return reason;
    }
    if error.is_parse() {
        Reason::UpstreamMalformed
    } else {
        Reason::UpstreamClosed
    }
}
