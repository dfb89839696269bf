//! HTTP/2 by the `h2` crate. Each stream is a task of this worker; the connection's own task drives the frames.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason as Code, RecvStream, SendStream};
use http::header::CONNECTION;
use http::{Request, Response};
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::body::{RequestBody, ResponseBody};
use super::timer::Timer;
use crate::conn::Conn;
use crate::records::Exchange;
use crate::worker::Worker;

/// Serves a connection to its end. `next` answers one request.
pub(crate) async fn serve<S, N, F, E>(stream: S, conn: Rc<Conn>, worker: &Rc<Worker>, next: N)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    N: Fn(Request<RequestBody>, Exchange) -> F + Clone + 'static,
    F: Future<Output = Result<Response<ResponseBody>, E>> + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let limits = &worker.config.limits;
    let shaking = h2::server::Builder::new()
        .initial_window_size(limits.h2_window)
        .initial_connection_window_size(limits.h2_window.max(CONNECTION_WINDOW))
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(limits.h2_header_list)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake::<_, Bytes>(stream);
    // A client that sends no preface is as slow as one that sends no head.
    let Ok(Ok(mut connection)) = timeout(limits.head_timeout, shaking).await else {
        return;
    };
    let streams = Rc::new(Streams::default());
    let mut leaving = Leaving::new(worker);
    while let Some((request, respond)) = accept(&mut connection, &streams, &mut leaving).await {
        let open = Open::new(&streams);
        let exchange = Exchange::open(&conn, Instant::now());
        let next = next.clone();
        spawn_local(async move {
            let _open = open;
            serve_stream(request, respond, exchange, next).await;
        });
    }
}

/// Streams that are open on one connection.
#[derive(Default)]
struct Streams {
    open: Cell<usize>,
    none_left: Notify,
}

struct Open(Rc<Streams>);

impl Open {
    fn new(streams: &Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self(Rc::clone(streams))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            self.0.none_left.notify_one();
        }
    }
}

/// When and how the connection is asked to end: first GOAWAY, then, when nothing is left or nothing moves, the close.
struct Leaving<'a> {
    worker: &'a Worker,
    timer: Timer,
    said: bool,
}

impl<'a> Leaving<'a> {
    fn new(worker: &'a Worker) -> Self {
        Self {
            worker,
            timer: Timer::new(worker.config.limits.idle_timeout),
            said: false,
        }
    }
}

type Incoming = (Request<RecvStream>, SendResponse<Bytes>);

/// The next stream; none when the connection is over, failed, or idle for too long after GOAWAY.
async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S, Bytes>,
    streams: &Streams,
    leaving: &mut Leaving<'_>,
) -> Option<Incoming> {
    let closing = leaving.worker.changed();
    let mut closing = pin!(closing.notified());
    let mut none_left = pin!(streams.none_left.notified());
    let mut woken = false;
    if !leaving.said {
        leaving.timer.set(leaving.worker.config.limits.idle_timeout);
    }
    poll_fn(|cx| {
        if let Poll::Ready(accepted) = connection.poll_accept(cx) {
            return Poll::Ready(accepted.and_then(Result::ok));
        }
        woken = woken || closing.as_mut().poll(cx).is_ready();
        if leaving.worker.is_closing() && !leaving.said {
            goaway(connection, leaving);
            cx.waker().wake_by_ref();
        }
        if none_left.as_mut().poll(cx).is_ready() {
            none_left.set(streams.none_left.notified());
            // Registers for the next time, too.
            let _ = none_left.as_mut().poll(cx);
            leaving.timer.set(if leaving.said {
                LAST_WORDS
            } else {
                leaving.worker.config.limits.idle_timeout
            });
        }
        if leaving.timer.poll_expired(cx).is_ready() {
            if leaving.said && streams.open.get() == 0 {
                return Poll::Ready(None);
            }
            if streams.open.get() == 0 {
                goaway(connection, leaving);
            } else {
                leaving.timer.set(leaving.worker.config.limits.idle_timeout);
            }
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

fn goaway<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S, Bytes>,
    leaving: &mut Leaving<'_>,
) {
    connection.graceful_shutdown();
    leaving.said = true;
    leaving.timer.set(LAST_WORDS);
}

/// One stream: the request forwarded, the response sent, and given up when the client resets it.
async fn serve_stream<N, F, E>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    mut exchange: Exchange,
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
        Some(Ok(response)) => {
            let (mut head, mut body) = response.into_parts();
            // HTTP/2 has no such field (RFC 9113, section 8.2.2); a connection ends by GOAWAY.
            head.headers.remove(CONNECTION);
            let is_over = body.is_end_stream();
            match respond.send_response(Response::from_parts(head, ()), is_over) {
                Ok(stream) if !is_over => send_body(stream, body).await,
                Ok(_) => {}
                Err(_) => body.abandon(),
            }
        }
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

const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of responses buffered for a stream beyond its window.
const SEND_BUFFER: usize = 64 * 1024;
/// After GOAWAY with no stream left: time for the client to close first.
const LAST_WORDS: Duration = Duration::from_secs(1);
