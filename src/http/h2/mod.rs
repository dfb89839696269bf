//! HTTP/2 by the `h2` crate. Each stream is a task of this worker; the connection's own task drives the frames.

mod budget;
mod frames;
mod gathered;
mod leaving;
mod scan;
mod stream;
mod tally;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason as Code, RecvStream};
use http::{Request, Response, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use crate::conn::Conn;
use crate::failure::Reason;
use crate::metrics::Meter;
use crate::records::Exchange;
use crate::worker::Worker;
use frames::Frames;
use gathered::Gathered;
pub(crate) use gathered::Spare;
use leaving::{Leaving, Step};
use stream::Stream;
use tally::Tally;

/// Serves a connection to its end. `next` answers one request.
pub(crate) async fn serve<S, N, F, E>(stream: S, conn: Rc<Conn>, worker: &Rc<Worker>, next: N)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    N: Fn(Box<Request<RequestBody>>, Box<Exchange>) -> F + Clone + 'static,
    F: Future<Output = Result<Response<ResponseBody>, E>> + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let limits = &worker.config.limits;
    let tally = Rc::new(Tally::new(limits.h2_streams));
    let gathered = Rc::new(Gathered::new(stream, &worker.spare));
    let shaking = h2::server::Builder::new()
        .initial_window_size(limits.h2_window)
        .initial_connection_window_size(limits.h2_window.max(CONNECTION_WINDOW))
        .max_concurrent_streams(limits.h2_streams)
        .max_header_list_size(limits.h2_header_list)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol()
        .handshake::<_, Bytes>(Frames::new(&gathered, &tally));
    // A client that sends no preface is as slow as one that sends no head.
    let shaken = tokio::select! {
        shaken = timeout(limits.head_timeout, shaking) => shaken,
        () = worker.given_up() => return,
    };
    let mut connection = match shaken {
        Ok(Ok(connection)) => connection,
        _ if !tally.has_begun() => return,
        Ok(Err(_)) => return unread(&conn, Reason::H2Error, None),
        Err(_) => return unread(&conn, Reason::HeadTimeout, None),
    };
    gathered.drive();
    let streams = Rc::new(Streams::new(&conn.site.meter));
    let mut leaving = Leaving::new(worker, &conn, &tally);
    while let Some((request, respond)) = accept(
        &mut connection,
        &gathered,
        &streams,
        &mut leaving,
        &tally,
        &conn,
    )
    .await
    {
        let open = Open::new(&streams);
        tally.known(respond.stream_id().as_u32());
        let exchange = Exchange::open(&conn, Instant::now());
        let stream = Stream::new(request, respond, exchange);
        let (next, worker) = (next.clone(), Rc::clone(worker));
        // Boxed: tokio moves a task as a whole four times when it begins, and three times when it ends.
        spawn_local(Box::pin(async move {
            let _open = open;
            stream::serve(stream, worker, next).await;
        }));
    }
    for lost in tally.take_lost() {
        unread(&conn, lost.reason, lost.status);
    }
    if let Some(reason) = leaving.reason() {
        unread(&conn, reason, None);
    }
}

/// Leaves the record of what never became a request: it was refused by the `h2` crate, or ended the connection.
fn unread(conn: &Rc<Conn>, reason: Reason, status: Option<StatusCode>) {
    let mut exchange = Exchange::open_unread(conn, Version::HTTP_2);
    exchange.fail(reason);
    if let Some(status) = status {
        exchange.respond(status);
    }
}

/// Streams that are open on one connection. While there are none it counts as idle.
struct Streams {
    open: Cell<usize>,
    none_left: Notify,
    meter: Arc<Meter>,
}

impl Streams {
    fn new(meter: &Arc<Meter>) -> Self {
        let streams = Self {
            open: Cell::default(),
            none_left: Notify::new(),
            meter: Arc::clone(meter),
        };
        streams.idles(1);
        streams
    }

    fn idles(&self, change: i64) {
        let idle = &self.meter.conns.idle;
        idle.fetch_add(change, Ordering::Relaxed);
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.idles(-1);
    }
}

struct Open(Rc<Streams>);

impl Open {
    fn new(streams: &Rc<Streams>) -> Self {
        if streams.open.get() == 0 {
            streams.idles(-1);
        }
        streams.open.set(streams.open.get() + 1);
        Self(Rc::clone(streams))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            self.0.idles(1);
            self.0.none_left.notify_one();
        }
    }
}

type Incoming = (Request<RecvStream>, SendResponse<Bytes>);

/// The next stream; none when the connection is over, failed, or idle for too long after GOAWAY.
async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<Frames<S>, Bytes>,
    gathered: &Gathered<S>,
    streams: &Streams,
    leaving: &mut Leaving<'_>,
    tally: &Tally,
    conn: &Rc<Conn>,
) -> Option<Incoming> {
    let changes = leaving.worker.changed();
    let mut changed = pin!(changes.notified());
    let mut none_left = pin!(streams.none_left.notified());
    leaving.moved();
    poll_fn(|cx| {
        // What could not leave goes first: reading may take all that a task may do at once (tokio's budget), again and again.
        if let Poll::Ready(Err(_)) = gathered.poll_send(cx) {
            return Poll::Ready(None);
        }
        let accepted = connection.poll_accept(cx);
        if let (Some(reason), None) = (tally.ended(), conn.cut.get()) {
            // What is open on it ends for the same reason.
            conn.cut.set(Some(reason));
        }
        if let Poll::Ready(accepted) = accepted {
            return Poll::Ready(accepted.and_then(Result::ok));
        }
        if let Poll::Ready(Err(_)) = gathered.poll_send(cx) {
            return Poll::Ready(None);
        }
        // What the crate hands on now is handed on: the rest nobody will see.
        for lost in tally.take_lost() {
            unread(conn, lost.reason, lost.status);
        }
        while changed.as_mut().poll(cx).is_ready() {
            changed.set(changes.notified());
        }
        if none_left.as_mut().poll(cx).is_ready() {
            none_left.set(streams.none_left.notified());
            // Registers for the next time, too.
            let _ = none_left.as_mut().poll(cx);
            leaving.moved();
        }
        match leaving.poll(streams.open.get(), cx) {
            Step::Nothing => return Poll::Pending,
            Step::SayGoodbye => connection.graceful_shutdown(),
            Step::SendAway => connection.abrupt_shutdown(Code::ENHANCE_YOUR_CALM),
            Step::Close => connection.abrupt_shutdown(Code::NO_ERROR),
            Step::Over => return Poll::Ready(None),
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of responses buffered for a stream beyond its window.
const SEND_BUFFER: usize = 64 * 1024;
