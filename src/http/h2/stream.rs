//! One HTTP/2 stream: a request and its response.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream, SendStream};
use http::header::{CONNECTION, COOKIE};
use http::{Method, Request, Response};
use http_body::Body as _;

use crate::config::Limits;
use crate::failure::Reason;
use crate::http::answer::refuse;
use crate::http::closing::linger_stream;
use crate::http::progress::RequestProgress;
use crate::http::request_body::{Received as Body, RequestBody};
use crate::http::response_body::ResponseBody;
use crate::http::send::{Sent, send_body};
use crate::http::stream_io::StreamIo;
use crate::http::tunnel::Tunnel;
use crate::records::Exchange;
use crate::worker::Worker;

/// A stream that was accepted.
pub(super) struct Stream {
    request: Box<Request<RequestBody>>,
    received: Received,
    respond: SendResponse<Bytes>,
    exchange: Box<Exchange>,
}

impl Stream {
    pub(super) fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        mut exchange: Box<Exchange>,
    ) -> Self {
        exchange.request(
            request.method(),
            request.uri(),
            request.version(),
            request.headers(),
        );
        let (request, received) = split(request, &exchange.progress());
        Self {
            request,
            received,
            respond,
            exchange,
        }
    }
}

/// The request forwarded, the response sent, and given up when the client resets it.
pub(super) async fn serve<N, F, E>(stream: Stream, worker: Rc<Worker>, next: N)
where
    N: Fn(Box<Request<RequestBody>>, Box<Exchange>) -> F,
    F: Future<Output = Result<Response<ResponseBody>, E>>,
{
    let Stream {
        request,
        received,
        mut respond,
        exchange,
    } = stream;
    let is_head = request.method() == Method::HEAD;
    let progress = exchange.progress();
    let wire = exchange.conn().wire.clone();
    let _watched = worker.watch.add(Rc::clone(&progress), wire, false);
    if let Err(reason) = measure(&request, &worker.config.limits) {
        let refused = refuse(reason, exchange);
        let begun = refused.and_then(|refused| begin(&mut respond, refused, is_head));
        if let Some(mut begun) = begun {
            send(&mut begun, &progress).await;
        }
        return;
    }
    let begun = {
        let answering = pin!(next(request, exchange));
        match answer(answering, &mut respond, &progress).await {
            None => return,
            Some(Err(_)) => return respond.send_reset(Code::INTERNAL_ERROR),
            Some(Ok(response)) => begin(&mut respond, response, is_head),
        }
    };
    match (begun, received) {
        (
            Some(Begun {
                tunnel: Some(tunnel),
                stream,
                body: _body,
            }),
            Received::Tunnel(receive),
        ) => {
            Box::pin(tunnel.run(StreamIo::new(stream, receive))).await;
        }
        (begun, received) => {
            // What comes for a tunnel that was refused is not to take room.
            let body = match received {
                Received::Body(body) => Some(body),
                Received::Nothing | Received::Tunnel(_) => None,
            };
            if let Some(mut begun) = begun {
                send(&mut begun, &progress).await;
            }
            if let Some(body) = body {
                let limit = worker.config.limits.response_timeout;
                Box::pin(linger_stream(&body, &progress, limit)).await;
            }
        }
    }
}

/// Waits for the answer, and passes on what comes ahead of it. None when the client wants none any more.
async fn answer<F: Future>(
    mut answering: Pin<&mut F>,
    respond: &mut SendResponse<Bytes>,
    progress: &RequestProgress,
) -> Option<F::Output> {
    poll_fn(|cx| {
        progress.standing.served_by(cx.waker());
        // A reset, or the end of the connection: dropping `answering` cancels the request upstream.
        if let Poll::Ready(reset) = respond.poll_reset(cx) {
            if matches!(reset, Ok(Code::PROTOCOL_ERROR)) {
                // The `h2` crate says so of a body that is not as long as it was said to be.
                progress.fail(Reason::BadFraming);
            }
            return Poll::Ready(None);
        }
        let answered = answering.as_mut().poll(cx);
        pass_on_interim(progress, respond);
        answered.map(Some)
    })
    .await
}

/// The limits of a head that the `h2` crate does not keep.
fn measure<B>(request: &Request<B>, limits: &Limits) -> Result<(), Reason> {
    let path = request.uri().path_and_query();
    if path.is_some_and(|path| path.as_str().len() > limits.max_uri) {
        return Err(Reason::UriTooLong);
    }
    // Crumbs of a cookie become one field.
    let crumbs = request.headers().get_all(COOKIE).iter().count();
    if request.headers().len() - crumbs.saturating_sub(1) > limits.max_headers {
        return Err(Reason::TooManyFields);
    }
    let fields = request.headers().iter();
    let size: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if size > limits.max_head {
        return Err(Reason::HeadTooLarge);
    }
    Ok(())
}

/// What comes behind a request.
enum Received {
    Nothing,
    Body(Body),
    /// Extended CONNECT opens a tunnel (RFC 8441).
    Tunnel(RecvStream),
}

fn split(
    request: Request<RecvStream>,
    progress: &Rc<RequestProgress>,
) -> (Box<Request<RequestBody>>, Received) {
    let is_tunnel = request.extensions().get::<Protocol>().is_some();
    let (head, body) = request.into_parts();
    let (body, received) = if is_tunnel {
        let empty = RequestBody::empty(Rc::clone(progress));
        (empty, Received::Tunnel(body))
    } else if body.is_end_stream() {
        (RequestBody::empty(Rc::clone(progress)), Received::Nothing)
    } else {
        let body = Rc::new(RefCell::new(body));
        let read = RequestBody::h2(Rc::clone(&body), Rc::clone(progress));
        (read, Received::Body(body))
    };
    (Box::new(Request::from_parts(head, body)), received)
}

/// 100 and 103 go ahead of the answer.
fn pass_on_interim(progress: &RequestProgress, respond: &mut SendResponse<Bytes>) {
    for interim in progress.take_interim() {
        // It fails only for a stream that has ended meanwhile.
        let _ = respond.send_informational(interim);
    }
}

/// A response whose head was sent, and what is to follow it.
struct Begun {
    stream: SendStream<Bytes>,
    body: ResponseBody,
    tunnel: Option<Tunnel>,
}

/// Sends the head of a response. None when that was all, or when nobody wants it.
fn begin(
    respond: &mut SendResponse<Bytes>,
    response: Response<ResponseBody>,
    is_head: bool,
) -> Option<Begun> {
    let (mut head, mut body) = response.into_parts();
    // HTTP/2 has no such field (RFC 9113, section 8.2.2); a connection ends by GOAWAY.
    head.headers.remove(CONNECTION);
    let tunnel = body.take_tunnel();
    // An answer of our own has a body for everybody but HEAD.
    let is_over = tunnel.is_none() && (is_head || body.is_end_stream());
    let Ok(stream) = respond.send_response(Response::from_parts(head, ()), is_over) else {
        body.abandon();
        return None;
    };
    (!is_over).then_some(Begun {
        stream,
        body,
        tunnel,
    })
}

/// Sends the body of a response.
async fn send(begun: &mut Begun, progress: &RequestProgress) {
    let sending = send_body(
        &mut begun.stream,
        Pin::new(&mut begun.body),
        Code::INTERNAL_ERROR,
        Some(progress),
    );
    match sending.await {
        Sent::Whole => {}
        Sent::Reset => begun.body.abandon(),
        Sent::Broken(code) => {
            // All of it may have come, and not all of it have gone.
            begun.body.abandon();
            begun.stream.send_reset(code);
        }
    }
}
