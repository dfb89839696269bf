//! A request to an application that speaks HTTP/1.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::framing::is_framed_once;
use super::wait::{Early, Heard, answer};
use super::{Errand, STALE, is_repeatable, keep_short};
use crate::failure::Reason;
use crate::http::{RequestBody, Source};
use crate::records::Exchange;
use crate::upstream::{Lease, announced};

/// Sends the request and waits for the head of the response.
///
/// A kept connection may have been closed by the application just now, and whoever used it would get a 502 for nothing. A
/// request that can be sent again is, once, on a connection that is new and therefore cannot be stale: one that hyper
/// hands back because it never got onto the wire, and one that is idempotent (RFC 9110, section 9.2.2) and whose body, if
/// it has any, is short, when the connection ended before there was an answer.
pub(super) async fn ask(
    mut request: Box<Request<RequestBody>>,
    errand: &mut Errand<'_>,
) -> Result<Response<Source>, Reason> {
    let mut fresh = false;
    let repeatable = is_repeatable(&request);
    if repeatable {
        keep_short(&mut request, errand).await;
    }
    loop {
        let again = repeatable.then(|| request.body().copy()).flatten();
        let wish = match (fresh, &again) {
            (true, _) => Wish::Fresh,
            (false, None) => Wish::Safe,
            (false, Some(_)) => Wish::Any,
        };
        let mut lease = lease(errand, wish).await?;
        let again = again.filter(|_| lease.reused);
        let again = again.map(|body| copy(&request, body));
        let mut error = match send(request, &mut lease, errand).await? {
            Ok(response) => return accept(response, lease),
            Err(error) => error,
        };
        let unsent = error.take_message().map(Box::new);
        let error = error.into_error();
        match unsent.or_else(|| again.filter(|_| is_stale(&error))) {
            Some(same) if lease.reused && !fresh => {
                (request, fresh) = (same, true);
                errand.exchange.progress().starts_over();
                errand.exchange.retried(STALE);
                errand.exchange.asks(request.headers_mut());
            }
            _ => return Err(sort(&error, errand.exchange)),
        }
    }
}

/// Sends it on this connection.
pub(super) async fn send(
    mut request: Box<Request<RequestBody>>,
    lease: &mut Lease,
    errand: &mut Errand<'_>,
) -> Result<Result<Response<Incoming>, TrySendError<Request<RequestBody>>>, Reason> {
    errand.exchange.sent_to(lease.address());
    let limit = errand.limit();
    let early = Early::of(&mut request, errand);
    let mut sent = pin!(lease.sender().try_send_request(*request));
    let hear = |cx: &mut std::task::Context<'_>| {
        if let Some(Poll::Ready(interim)) = early.as_ref().map(|early| early.poll(cx)) {
            return Poll::Ready(Heard::Interim(interim));
        }
        sent.as_mut().poll(cx).map(Heard::Final)
    };
    answer(hear, errand, limit).await
}

/// The same request once more.
fn copy(request: &Request<RequestBody>, body: RequestBody) -> Box<Request<RequestBody>> {
    let mut copy = Box::new(Request::new(body));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    // Here hyper keeps how the names were written.
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

/// Whether the connection ended, as opposed to: what came over it was wrong.
fn is_stale(error: &hyper::Error) -> bool {
    let is_io =
        std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>());
    !error.is_parse()
        && (error.is_incomplete_message() || error.is_canceled() || error.is_closed() || is_io)
}

/// A response that can be passed on: framed in one way, and no 101, which would end HTTP on the connection.
pub(super) fn accept(
    response: Response<Incoming>,
    mut lease: Lease,
) -> Result<Response<Source>, Reason> {
    let is_switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if is_switching || !is_framed_once(response.headers()) {
        return Err(Reason::UpstreamMalformed);
    }
    if let Some(kept) = announced(response.headers()) {
        lease.kept_for(kept);
    }
    if response.version() == Version::HTTP_10 {
        // It would speak HTTP/1.0 again, and lose a body of unknown length.
        lease.retire();
    }
    Ok(response.map(|body| Source::H1(body, Some(lease))))
}

/// Which connection will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Any: the request can be sent again.
    Any,
    /// One that is not likely to be closed just now.
    Safe,
    /// None that was used before.
    Fresh,
}

/// A connection that can take a request now.
pub(super) async fn lease(errand: &mut Errand<'_>, wish: Wish) -> Result<Lease, Reason> {
    let (worker, target) = (errand.worker, errand.target);
    if wish != Wish::Fresh
        && let Some(lease) = worker.pool.take(target.number, wish == Wish::Any)
    {
        return Ok(lease);
    }
    let began = Instant::now();
    // Boxed: few requests need it, and all would be moved with the room for it.
    let connected = Box::pin(worker.pool.connect(target, &worker.dialer)).await;
    errand.exchange.connected(began.elapsed());
    connected
}

/// Whose fault a failed request is: a client that broke its own body is not the application's failure.
pub(super) fn sort(error: &hyper::Error, exchange: &Exchange) -> Reason {
    if let Some(reason) = exchange.progress().failed() {
        return reason;
    }
    if error.is_parse() {
        Reason::UpstreamMalformed
    } else {
        Reason::UpstreamClosed
    }
}
