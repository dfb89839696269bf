//! HTTP/2 by the `h2` crate. Each stream is a task of this worker; the connection's own task drives the frames.

mod stream;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Connection, SendResponse};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::request_body::RequestBody;
use super::response_body::ResponseBody;
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
        .enable_connect_protocol()
        .handshake::<_, Bytes>(stream);
    // A client that sends no preface is as slow as one that sends no head.
    let shaken = tokio::select! {
        shaken = timeout(limits.head_timeout, shaking) => shaken,
        () = worker.given_up() => return,
    };
    let Ok(Ok(mut connection)) = shaken else {
        return;
    };
    let streams = Rc::new(Streams::default());
    let mut leaving = Leaving::new(worker, &conn);
    while let Some((request, respond)) = accept(&mut connection, &streams, &mut leaving).await {
        let open = Open::new(&streams);
        let exchange = Exchange::open(&conn, Instant::now());
        let (next, worker) = (next.clone(), Rc::clone(worker));
        spawn_local(async move {
            let _open = open;
            stream::serve(request, respond, exchange, worker, next).await;
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
    conn: &'a Conn,
    timer: Timer,
    /// Expires when the connection has reached its age.
    age: Option<Timer>,
    said: bool,
}

impl<'a> Leaving<'a> {
    fn new(worker: &'a Worker, conn: &'a Conn) -> Self {
        Self {
            worker,
            conn,
            age: conn.tenure.left().map(Timer::new),
            timer: Timer::new(worker.config.limits.idle_timeout),
            said: false,
        }
    }

    /// Whether GOAWAY is due.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let is_aged = self
            .age
            .as_mut()
            .is_some_and(|age| age.poll_expired(cx).is_ready());
        let is_over = is_aged || self.conn.tenure.is_used_up();
        !self.said && (is_over || self.worker.is_closing_for(self.conn))
    }
}

type Incoming = (Request<RecvStream>, SendResponse<Bytes>);

/// The next stream; none when the connection is over, failed, or idle for too long after GOAWAY.
async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S, Bytes>,
    streams: &Streams,
    leaving: &mut Leaving<'_>,
) -> Option<Incoming> {
    let changes = leaving.worker.changed();
    let mut changed = pin!(changes.notified());
    let mut none_left = pin!(streams.none_left.notified());
    if !leaving.said {
        leaving.timer.set(leaving.worker.config.limits.idle_timeout);
    }
    poll_fn(|cx| {
        if let Poll::Ready(accepted) = connection.poll_accept(cx) {
            return Poll::Ready(accepted.and_then(Result::ok));
        }
        while changed.as_mut().poll(cx).is_ready() {
            changed.set(changes.notified());
        }
        if leaving.is_due(cx) {
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

const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of responses buffered for a stream beyond its window.
const SEND_BUFFER: usize = 64 * 1024;
/// After GOAWAY with no stream left: time for the client to close first.
const LAST_WORDS: Duration = Duration::from_secs(1);
