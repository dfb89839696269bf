//! One HTTP/2 stream: a request and its response.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream, SendStream};
use http::header::CONNECTION;
use http::{Method, Request, Response};
use http_body::{Body, Frame};

use crate::failure::Reason;
use crate::http::answer::refuse;
use crate::http::body::{RequestBody, ResponseBody};
use crate::records::Exchange;

/// One stream: the request forwarded, the response sent, and given up when the client resets it.
pub(super) async fn serve<N, F, E>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    mut exchange: Exchange,
    max_uri: usize,
    next: N,
) where
    N: Fn(Request<RequestBody>, Exchange) -> F,
    F: Future<Output = Result<Response<ResponseBody>, E>>,
{
    exchange.request(
        request.method(),
        request.uri(),
        request.version(),
        request.headers(),
    );
    let is_head = request.method() == Method::HEAD;
    let is_too_long = request
        .uri()
        .path_and_query()
        .is_some_and(|path| path.as_str().len() > max_uri);
    if is_too_long {
        if let Some(response) = refuse(Reason::UriTooLong, exchange) {
            respond_with(respond, response, is_head).await;
        }
        return;
    }
    let progress = exchange.progress();
    let answering = next(
        request.map(|body| RequestBody::h2(body, progress)),
        exchange,
    );
    let mut answering = pin!(answering);
    let answered = poll_fn(|cx| {
        // A reset, or the end of the connection: dropping `answering` cancels the request upstream.
        if respond.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        answering.as_mut().poll(cx).map(Some)
    })
    .await;
    match answered {
        None => {}
        Some(Err(_)) => respond.send_reset(Code::INTERNAL_ERROR),
        Some(Ok(response)) => respond_with(respond, response, is_head).await,
    }
}

async fn respond_with(
    mut respond: SendResponse<Bytes>,
    response: Response<ResponseBody>,
    is_head: bool,
) {
    let (mut head, mut body) = response.into_parts();
    // HTTP/2 has no such field (RFC 9113, section 8.2.2); a connection ends by GOAWAY.
    head.headers.remove(CONNECTION);
    // An answer of our own has a body for everybody but HEAD.
    let is_over = is_head || body.is_end_stream();
    match respond.send_response(Response::from_parts(head, ()), is_over) {
        Ok(stream) if !is_over => send_body(stream, body).await,
        Ok(_) => {}
        Err(_) => body.abandon(),
    }
}

/// Sends a body as fast as the client's window allows. A body that breaks off ends in RST_STREAM, never in END_STREAM.
async fn send_body(mut stream: SendStream<Bytes>, body: ResponseBody) {
    let mut body = pin!(body);
    loop {
        let frame = poll_fn(|cx| poll_frame(&mut stream, body.as_mut(), cx)).await;
        let sent = match frame {
            Next::Reset => return body.abandon(),
            Next::Broken => return stream.send_reset(Code::INTERNAL_ERROR),
            Next::End => return drop(stream.send_data(Bytes::new(), true)),
            Next::Frame(frame) => match frame.into_data() {
                Ok(data) => {
                    let is_last = body.is_end_stream();
                    let sent = send_data(&mut stream, data, is_last).await;
                    if sent && is_last {
                        return;
                    }
                    sent
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => return drop(stream.send_trailers(trailers)),
                    Err(_) => true,
                },
            },
        };
        if !sent {
            return body.abandon();
        }
    }
}

enum Next {
    Frame(Frame<Bytes>),
    End,
    Broken,
    Reset,
}

fn poll_frame(
    stream: &mut SendStream<Bytes>,
    body: Pin<&mut ResponseBody>,
    cx: &mut Context<'_>,
) -> Poll<Next> {
    if stream.poll_reset(cx).is_ready() {
        return Poll::Ready(Next::Reset);
    }
    Poll::Ready(match ready!(body.poll_frame(cx)) {
        Some(Ok(frame)) => Next::Frame(frame),
        Some(Err(_)) => Next::Broken,
        None => Next::End,
    })
}

/// Sends one piece in as many as the window wants. False when the client has no more use for it.
async fn send_data(stream: &mut SendStream<Bytes>, mut data: Bytes, is_last: bool) -> bool {
    loop {
        stream.reserve_capacity(data.len());
        let granted = match stream.capacity() {
            0 if !data.is_empty() => match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(granted)) => granted,
                Some(Err(_)) | None => return false,
            },
            granted => granted,
        };
        let piece = data.split_to(granted.min(data.len()));
        let is_end = data.is_empty();
        if stream.send_data(piece, is_end && is_last).is_err() {
            return false;
        }
        if is_end {
            return true;
        }
    }
}
