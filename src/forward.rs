//! One request to the application and its response back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::timeout_at;
use uuid::fmt::Hyphenated;

use crate::conn::Conn;
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
    let answered = match prepare(&mut request, &exchange, &worker, &target) {
        Ok(()) => ask(request, &mut exchange, &worker, &target).await,
        Err(reason) => Err(reason),
    };
    let mut response = match answered {
        Ok((response, lease)) => {
            exchange.respond(response.status());
            let (mut head, body) = response.into_parts();
            headers::to_downstream(head.status, &mut head.headers);
            // The application's version is its own business; an old one must not cost the client its connection.
            head.version = Version::HTTP_11;
            Response::from_parts(head, ResponseBody::upstream(body, lease, exchange))
        }
        Err(reason) => refuse(reason, exchange).ok_or(Unanswerable)?,
    };
    if let Some(hsts) = worker.config.hsts {
        headers::insist_on_https(response.headers_mut(), hsts);
    }
    Ok(response)
}

fn prepare(
    request: &mut Request<RequestBody>,
    exchange: &Exchange,
    worker: &Worker,
    target: &Target,
) -> Result<(), Reason> {
    let conn = exchange.conn();
    admit(request, conn, worker)?;
    let id = exchange.id().hyphenated();
    let mut buffer = [0; Hyphenated::LENGTH];
    let own = OwnWords {
        client: conn.client.ip(),
        request_id: id.encode_lower(&mut buffer),
        public_port: worker.config.redirect_port,
        default_host: target.url.authority(),
        client_certificate: conn.peer.as_ref().and_then(|peer| peer.forwarded.as_ref()),
    };
    headers::to_upstream(request, &own)?;
    let host = request.headers().get(HOST);
    if conn
        .tls
        .as_ref()
        .is_some_and(|tls| tls.is_misdirected(host))
    {
        return Err(Reason::Misdirected);
    }
    Ok(())
}

/// Whether this client may ask for this: what the handshake could not decide, because it did not know the path, or because
/// it was long ago.
fn admit(request: &mut Request<RequestBody>, conn: &Conn, worker: &Worker) -> Result<(), Reason> {
    if conn.tenure.is_distrusted() {
        return Err(Reason::ClientNotTrusted);
    }
    let exempt = &worker.config.client_auth_exempt;
    if exempt.is_empty() || conn.peer.is_some() {
        return Ok(());
    }
    // As it stands: what the application might make of dots and escapes is not exempt.
    if !exempt.iter().any(|path| path == request.uri().path()) {
        return Err(Reason::ClientCertificateMissing);
    }
    headers::strip_other_paths(request.headers_mut());
    Ok(())
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

/// Waits for the head of the response. The limit runs from the last time that the request moved: a slow upload is
/// legitimate. When it is over, whoever is waited for is to blame.
async fn answer<T>(
    sent: impl Future<Output = T>,
    exchange: &Exchange,
    limit: Duration,
) -> Result<T, Reason> {
    let mut sent = pin!(sent);
    let progress = exchange.progress();
    let began = Instant::now();
    loop {
        let moved = progress.moved().unwrap_or(began).max(began);
        if let Ok(answered) = timeout_at((moved + limit).into(), sent.as_mut()).await {
            return Ok(answered);
        }
        if progress.moved().is_none_or(|now| now <= moved) {
            let is_clients = progress.is_awaiting_client();
            return Err(if is_clients {
                Reason::BodyTimeout
            } else {
                Reason::UpstreamTimeout
            });
        }
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
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let is_framed_once = match (codings.next(), lengths.next()) {
        (None, None) => true,
        (None, Some(length)) => length.as_bytes().iter().all(u8::is_ascii_digit),
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    is_framed_once
        && codings.next().is_none()
        && lengths.next().is_none()
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
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
