//! A request to an application that speaks HTTP/2 in clear.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason as Code, RecvStream, SendStream};
use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, request};
use http_body::Body;
use tokio::task::spawn_local;

use super::Errand;
use super::wait::{Heard, answer};
use crate::failure::Reason;
use crate::http::{RequestBody, Sending, Sent, Source, send_body};
use crate::records::Exchange;
use crate::upstream::Share;

/// Sends the request and waits for the head of the response. What the application has refused before it did anything with
/// it is sent again, once, on a new connection (RFC 9113, section 8.7).
pub(super) async fn ask(
    request: Request<RequestBody>,
    errand: &mut Errand<'_>,
) -> Result<Response<Source>, Reason> {
    let limit = errand.limit(request.headers());
    let (head, body) = request.into_parts();
    let is_empty = body.is_end_stream();
    let mut body = Some(body);
    let mut fresh = false;
    loop {
        let (share, opened) = open(translate(&head)?, is_empty, errand, &mut fresh).await?;
        let (mut response, stream) = opened;
        let rest = body.take_if(|_| !is_empty);
        let sending = rest.map(|body| spawn_local(send(stream, body)).abort_handle());
        let sending = Sending(sending);
        let heard = answer(|cx| hear(&mut response, cx), errand, limit).await?;
        match heard {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Reason::UpstreamMalformed);
            }
            Ok(response) => return Ok(response.map(|body| Source::H2(body, Some(share), sending))),
            Err(error) => {
                let may_repeat = may_repeat(&error, &head.method);
                if error.is_go_away() || error.is_io() {
                    share.retire();
                }
                if !(is_empty && may_repeat && share.reused && !fresh) {
                    return Err(sort(&error, errand.exchange));
                }
                fresh = true;
                errand.retried();
            }
        }
    }
}

/// A stream with this request's head on it. A connection that turns out to be over costs nothing.
pub(super) async fn open(
    request: Request<()>,
    is_empty: bool,
    errand: &mut Errand<'_>,
    fresh: &mut bool,
) -> Result<(Share, (ResponseFuture, SendStream<Bytes>)), Reason> {
    loop {
        let share = share(errand, *fresh).await?;
        errand.exchange.sent_to(share.address());
        match share.sender().await {
            Ok(mut sender) => {
                let opened = sender.send_request(request, is_empty);
                let opened = opened.map_err(|error| sort(&error, errand.exchange))?;
                return Ok((share, opened));
            }
            Err(_) if share.reused && !*fresh => {
                share.retire();
                *fresh = true;
                errand.retried();
            }
            Err(error) => return Err(sort(&error, errand.exchange)),
        }
    }
}

pub(super) async fn share(errand: &mut Errand<'_>, fresh: bool) -> Result<Share, Reason> {
    let worker = errand.worker;
    let began = Instant::now();
    let share = worker
        .multiplex
        .share(errand.target, &worker.own, &worker.config.limits, fresh)
        .await?;
    if !share.reused {
        errand.exchange.connected(began.elapsed());
    }
    Ok(share)
}

pub(super) fn hear(
    response: &mut ResponseFuture,
    cx: &mut Context<'_>,
) -> Poll<Heard<Result<Response<RecvStream>, h2::Error>>> {
    // What is wrong with an interim response is wrong with the stream, which says so itself.
    if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
        return Poll::Ready(Heard::Interim(interim));
    }
    Pin::new(response).poll(cx).map(Heard::Final)
}

/// The head as HTTP/2 has it: the authority is no field, and neither is the framing.
pub(super) fn translate(head: &request::Parts) -> Result<Request<()>, Reason> {
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.headers_mut() = head.headers.clone();
    *request.extensions_mut() = head.extensions.clone();
    *request.uri_mut() = absolute(&head.uri, &mut request)?;
    request.headers_mut().remove(TRANSFER_ENCODING);
    Ok(request)
}

fn absolute(uri: &Uri, request: &mut Request<()>) -> Result<Uri, Reason> {
    let host = request.headers_mut().remove(HOST).ok_or(Reason::BadHost)?;
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| Reason::BadHost)?);
    Uri::from_parts(parts).map_err(|_| Reason::BadRequest)
}

/// Sends the body. A client that resets its stream resets this one, too.
async fn send(mut stream: SendStream<Bytes>, body: RequestBody) {
    let sent = send_body(&mut stream, pin!(body)).await;
    if let Sent::Broken(code) = sent {
        stream.send_reset(code);
    }
}

/// Whether the application cannot have acted on it, or would do the same once more.
fn may_repeat(error: &h2::Error, method: &Method) -> bool {
    let is_unseen = error.is_reset() && error.reason() == Some(Code::REFUSED_STREAM);
    let is_lost = error.is_go_away() || error.is_io();
    is_unseen || (is_lost && method.is_idempotent())
}

pub(super) fn sort(error: &h2::Error, exchange: &Exchange) -> Reason {
    if let Some(reason) = exchange.progress().failed() {
        return reason;
    }
    if error.is_io() || error.is_go_away() {
        Reason::UpstreamClosed
    } else if error.is_reset() && error.is_remote() {
        Reason::UpstreamReset
    } else {
        Reason::UpstreamMalformed
    }
}
