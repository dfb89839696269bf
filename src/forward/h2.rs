//! A request to an application that speaks HTTP/2 in clear.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{Reason as Code, RecvStream, SendStream};
use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, request};
use http_body::Body;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use super::framing::is_framed_once;
use super::wait::{Heard, answer};
use super::{Errand, STALE, is_repeatable, keep_short};
use crate::failure::Reason;
use crate::http::{RequestBody, Sending, Sent, Source, poll_h2, send_body};
use crate::records::Exchange;
use crate::upstream::Share;

/// Sends the request and waits for the head of the response. What the application has refused before it did anything with
/// it, and what was lost with its connection, is sent again, once (RFC 9113, section 8.7).
pub(super) async fn ask(
    mut request: Box<Request<RequestBody>>,
    errand: &mut Errand<'_>,
) -> Result<Response<Source>, Reason> {
    let limit = errand.limit();
    let is_repeatable = is_repeatable(&request);
    if is_repeatable {
        keep_short(&mut request, errand).await;
    }
    let (mut head, mut body) = request.into_parts();
    let is_empty = body.is_end_stream();
    let mut repeated = false;
    loop {
        let (share, opened) = open(&head, is_empty, errand).await?;
        let (mut response, stream) = opened;
        let again = body.copy();
        let rest = (!is_empty).then_some(body);
        let sending = Sending(rest.map(|body| send(stream, body, errand)));
        let heard = answer(|cx| hear(&mut response, cx), errand, limit).await;
        if matches!(heard, Err(Reason::UpstreamTimeout)) {
            // Perhaps there is nobody any more at the other end.
            share.retire();
        }
        match heard? {
            Ok(response) => return accept(response, &head.method, share, sending),
            Err(error) => {
                let is_lost = error.is_go_away() || error.is_io();
                if is_lost {
                    share.retire();
                }
                let may_repeat = is_unseen(&error) || (is_lost && is_repeatable);
                match again {
                    Some(same) if may_repeat && share.reused && !repeated => body = same,
                    _ => return Err(sort(&error, errand.exchange)),
                }
                repeated = true;
                errand.exchange.progress().starts_over();
                errand
                    .exchange
                    .retried(if is_lost { STALE } else { REFUSED });
                errand.exchange.asks(&mut head.headers);
            }
        }
    }
}

/// A response that can be passed on: framed in one way, and without a body where there is none (RFC 9110, section 6.4.1).
pub(super) fn accept(
    response: Response<RecvStream>,
    method: &Method,
    share: Share,
    sending: Sending,
) -> Result<Response<Source>, Reason> {
    let status = response.status();
    if status.is_informational() || !is_framed_once(response.headers()) {
        return Err(Reason::UpstreamMalformed);
    }
    let is_bodiless = *method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(response.map(|body| {
        if !is_bodiless {
            return Source::H2(body, Some(share), sending);
        }
        // The application may still read, and has an end of its own to say.
        sending.go_on();
        if !body.is_end_stream() {
            spawn_local(timeout(LAST_WORDS, to_the_end(body, share)));
        }
        Source::Local(None)
    }))
}

async fn to_the_end(mut body: RecvStream, _share: Share) {
    while let Some(Ok(_)) = poll_fn(|cx| poll_h2(&mut body, cx)).await {}
}

/// A stream with this request's head on it. Connections that turn out to be over cost nothing.
pub(super) async fn open(
    head: &request::Parts,
    is_empty: bool,
    errand: &mut Errand<'_>,
) -> Result<(Share, (ResponseFuture, SendStream<Bytes>)), Reason> {
    let mut request = translate(head)?;
    loop {
        let share = share(errand).await?;
        let is_tunnel = head.extensions.get::<Protocol>().is_some();
        if is_tunnel && !share.takes_extended_connect() {
            return Err(Reason::UpstreamNoUpgrade);
        }
        errand.exchange.sent_to(share.address());
        let sender = timeout(errand.worker.config.limits.response_timeout, share.sender());
        match sender.await.map_err(|_| Reason::UpstreamTimeout)? {
            Ok(mut sender) => {
                let opened = sender.send_request(request, is_empty);
                let opened = opened.map_err(|error| sort(&error, errand.exchange))?;
                return Ok((share, opened));
            }
            Err(_) if share.reused => {
                share.retire();
                errand.exchange.retried(STALE);
                errand.exchange.asks(request.headers_mut());
            }
            Err(error) => return Err(sort(&error, errand.exchange)),
        }
    }
}

async fn share(errand: &mut Errand<'_>) -> Result<Share, Reason> {
    let worker = errand.worker;
    let began = Instant::now();
    let share = worker
        .multiplex
        .share(errand.target, &worker.dialer)
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
fn translate(head: &request::Parts) -> Result<Request<()>, Reason> {
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

/// Sends the body, on a task of its own. A client that resets its stream resets this one, too; and once the response is over,
/// a body that does not move any more is given up.
fn send(mut stream: SendStream<Bytes>, body: RequestBody, errand: &Errand<'_>) -> AbortHandle {
    let progress = errand.exchange.progress();
    let limit = errand.worker.config.limits.response_timeout;
    let sending = async move {
        let mut body = pin!(body);
        let sent = tokio::select! {
            sent = send_body(&mut stream, body.as_mut(), Code::CANCEL, None) => sent,
            () = progress.until_nobody_cares(limit) => Sent::Broken(Code::NO_ERROR),
        };
        if let Sent::Broken(code) = sent {
            stream.send_reset(code);
        }
    };
    spawn_local(sending).abort_handle()
}

/// Whether the application cannot have acted on it.
fn is_unseen(error: &h2::Error) -> bool {
    // Only streams that it has not looked at are told of a GOAWAY (RFC 9113, section 6.8).
    let is_behind_goaway = error.is_go_away() && error.is_remote();
    is_behind_goaway || (error.is_reset() && error.reason() == Some(Code::REFUSED_STREAM))
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

/// The application has refused the stream before it did anything with it.
const REFUSED: &str = "upstream_refused_stream";
/// For the end of a response that has no body.
const LAST_WORDS: Duration = Duration::from_secs(2);
