//! HTTP/1: a connection is a sequence of exchanges over the framer. Between two exchanges nothing is left but the TLS stream.

mod bare;
mod exchange;
mod response;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Instant;

use http::{Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::answer::refuse_raw;
use super::closing::{CLOSE_TIMEOUT, close, linger};
use super::framer::Framer;
use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use super::tunnel::Tunnel;
use super::waiting::{Arrival, Waiting};
use crate::byte_stream::ByteStream;
use crate::census::Kind;
use crate::conn::Conn;
use crate::failure::Reason;
use crate::metrics::Counted;
use crate::records::Exchange;
use crate::worker::Worker;
use bare::Bare;
use exchange::{Ended, exchange};

/// Serves a connection to its end. `next` answers one request.
pub(crate) async fn serve<S, N, F, E>(stream: S, conn: Rc<Conn>, worker: &Rc<Worker>, next: N)
where
    S: ByteStream + 'static,
    N: Fn(Box<Request<RequestBody>>, Box<Exchange>) -> F,
    F: Future<Output = Result<Response<ResponseBody>, E>>,
{
    // Shared with the body of a request while there is one.
    let framer = Rc::new(RefCell::new(Framer::new(stream)));
    let mut waiting = Waiting::new(worker, &conn);
    loop {
        let arrival = {
            let _idle = Counted::new(&worker.site.meter.conns.idle);
            waiting.next(&framer).await
        };
        let (head, started) = match arrival {
            Arrival::Head(head, started) => (head, started),
            Arrival::Over => return Box::pin(close(&mut Bare(framer))).await,
            Arrival::Gone(started) => return gone(framer.borrow().partial(), &conn, started),
            Arrival::Refused(reason, started) => {
                return Box::pin(refuse(framer, &conn, reason, started)).await;
            }
        };
        let opened = Exchange::open(&conn, started);
        // Boxed, so that an idle connection does not keep the room for an exchange's state.
        match Box::pin(exchange(&framer, head, opened, worker, &next)).await {
            Ended::KeepAlive => framer.borrow_mut().end(),
            Ended::Close => return Box::pin(close(&mut Bare(framer))).await,
            Ended::Linger => return Box::pin(linger(&mut Bare(framer))).await,
            Ended::Upgraded(tunnel) => {
                conn.presence.becomes(Kind::Upgraded);
                return Box::pin(carry(framer, tunnel)).await;
            }
            Ended::Cut => return,
        }
    }
}

/// The connection is another protocol's.
async fn carry<S: ByteStream>(framer: Rc<RefCell<Framer<S>>>, tunnel: Box<Tunnel>) {
    // A request for that has no body, which would share it.
    if let Some(framer) = Rc::into_inner(framer) {
        tunnel.run(framer.into_inner().into_rewound()).await;
    }
}

/// The client left in the middle of a head: nobody to answer, but a record to leave.
fn gone(partial: &[u8], conn: &Rc<Conn>, started: Instant) {
    let mut exchange = Exchange::open_refused(conn, started, partial);
    exchange.fail(Reason::ClientGone);
}

/// Answers a head that cannot be served, and closes.
async fn refuse<S: ByteStream>(
    framer: Rc<RefCell<Framer<S>>>,
    conn: &Rc<Conn>,
    reason: Reason,
    started: Instant,
) {
    let exchange = Exchange::open_refused(conn, started, framer.borrow().partial());
    let Some(bytes) = refuse_raw(reason, exchange) else {
        return;
    };
    let mut bare = Bare(framer);
    let written = async {
        bare.write_all(&bytes).await?;
        bare.flush().await
    };
    if matches!(timeout(CLOSE_TIMEOUT, written).await, Ok(Ok(()))) {
        linger(&mut bare).await;
    }
}
