//! HTTP/1, driven by hand over the framer: a connection is a sequence of exchanges, each with a hyper connection of its
//! own that is thrown away when the exchange is over. Between two exchanges nothing is left but the TLS stream.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Instant;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::answer::refuse_raw;
use super::closing::{CLOSE_TIMEOUT, close, linger};
use super::drive::{Driven, drive};
use super::framer::Framer;
use super::head::{Framing, Head, HeadLimits, USUAL_FIELDS};
use super::request_body::{Fault, RequestBody};
use super::response_body::ResponseBody;
use super::tunnel::Tunnel;
use super::waiting::{Arrival, Waiting};
use crate::byte_stream::{ByteStream, RECORD};
use crate::census::Kind;
use crate::conn::Conn;
use crate::failure::Reason;
use crate::headers::Spelling;
use crate::metrics::Counted;
use crate::records::Exchange;
use crate::worker::Worker;

/// Serves a connection to its end. `next` answers one request.
pub(crate) async fn serve<S, N, F, E>(stream: S, conn: Rc<Conn>, worker: &Rc<Worker>, next: N)
where
    S: ByteStream + 'static,
    N: Fn(Box<Request<RequestBody>>, Box<Exchange>) -> F + Clone + 'static,
    F: Future<Output = Result<Response<ResponseBody>, E>> + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    // Boxed: it goes into each exchange and comes back.
    let mut framer = Box::new(Framer::new(stream, HeadLimits::from(&worker.config.limits)));
    let mut waiting = Waiting::new(worker, &conn);
    loop {
        let arrival = {
            let _idle = Counted::new(&worker.site.meter.conns.idle);
            waiting.next(&mut framer).await
        };
        let (head, started) = match arrival {
            Arrival::Head(head, started) => (head, started),
            Arrival::Over => return close(framer.stream()).await,
            Arrival::Gone(started) => return gone(&framer, &conn, started),
            Arrival::Refused(reason, started) => {
                return Box::pin(refuse(&mut framer, &conn, reason, started)).await;
            }
        };
        // Boxed, so that an idle connection does not keep the room for an exchange's state.
        let ended = Box::pin(exchange(
            framer,
            head,
            Exchange::open(&conn, started),
            worker,
            next.clone(),
        ))
        .await;
        match ended {
            Ended::KeepAlive(back) => {
                framer = back;
                framer.end();
            }
            Ended::Close(mut back) => return close(back.stream()).await,
            Ended::Linger(mut back) => return Box::pin(linger(back.stream())).await,
            Ended::Upgraded(back, tunnel) => {
                conn.presence.becomes(Kind::Upgraded);
                return Box::pin(tunnel.run(back.into_rewound())).await;
            }
            Ended::Cut => return,
        }
    }
}

/// How an exchange left its connection.
enum Ended<S> {
    /// Whole; the next one may come.
    KeepAlive(Box<Framer<S>>),
    /// Whole, and the last one.
    Close(Box<Framer<S>>),
    /// Answered while the client was still sending.
    Linger(Box<Framer<S>>),
    /// From here on it is another protocol's.
    Upgraded(Box<Framer<S>>, Box<Tunnel>),
    /// In doubt: the client must not take it for whole, so no close_notify.
    Cut,
}

/// One exchange: hyper parses the one message the framer lets it see, `next` answers it, hyper writes the answer.
async fn exchange<S, N, F, E>(
    mut framer: Box<Framer<S>>,
    head: Head,
    opened: Box<Exchange>,
    worker: &Rc<Worker>,
    next: N,
) -> Ended<S>
where
    S: ByteStream + 'static,
    N: Fn(Box<Request<RequestBody>>, Box<Exchange>) -> F + 'static,
    F: Future<Output = Result<Response<ResponseBody>, E>> + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let (progress, conn) = (opened.progress(), Rc::clone(opened.conn()));
    let keeps_case = worker.config.header_case_kept;
    let spelling = (keeps_case && head.has_own_spelling)
        .then(|| Spelling::of_request(framer.head_bytes(Some(&head))));
    let spelling = RefCell::new(spelling);
    framer.begin(head, Rc::clone(&progress));
    let _watched = worker
        .watch
        .add(Rc::clone(&progress), conn.wire.clone(), true);
    let across = Rc::new(Across {
        opened: RefCell::new(Some(opened)),
        tunnel: RefCell::default(),
    });
    let service = {
        let (across, progress) = (Rc::clone(&across), Rc::clone(&progress));
        let (worker, conn) = (Rc::clone(worker), Rc::clone(&conn));
        service_fn(move |request: Request<Incoming>| {
            let exchange = across.opened.borrow_mut().take();
            let answered = exchange.map(|mut exchange| {
                exchange.request(
                    request.method(),
                    request.uri(),
                    request.version(),
                    request.headers(),
                );
                let mut request = request.map(|body| RequestBody::h1(body, Rc::clone(&progress)));
                if let Some(spelling) = spelling.take() {
                    request.extensions_mut().insert(spelling);
                }
                next(Box::new(request), exchange)
            });
            let (worker, conn) = (Rc::clone(&worker), Rc::clone(&conn));
            let across = Rc::clone(&across);
            Box::pin(async move {
                let mut response = match answered {
                    Some(answered) => answered.await.map_err(Fault::from)?,
                    None => return Err("a second message on a connection for one".into()),
                };
                if let Some(upgraded) = response.body_mut().take_tunnel() {
                    across.tunnel.replace(Some(upgraded));
                    return Ok(response);
                }
                if worker.is_leaving_for(&conn) {
                    response
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Fault>(response)
            })
        })
    };
    // Head and body of a small answer become one write either way, and the parts of a large one are copied by TLS alone.
    let limits = &worker.config.limits;
    let mut builder = http1::Builder::new();
    builder
        .writev(true)
        .title_case_headers(keeps_case)
        .max_buf_size(head.length + buffer(&head));
    if limits.max_headers > USUAL_FIELDS {
        builder.max_headers(limits.max_headers);
    }
    let mut connection = builder.serve_connection(framer, service);
    let driven = drive(&mut connection, &progress, limits.response_timeout).await;
    let framer = connection.into_parts().io;
    let unseen = across.opened.borrow_mut().take();
    if let (Driven::Complete | Driven::Closed, Some(tunnel)) = (&driven, across.tunnel.take()) {
        return Ended::Upgraded(framer, Box::new(tunnel));
    }
    let is_complete = matches!(driven, Driven::Complete) || progress.is_ended();
    match (driven, unseen) {
        (_, Some(exchange)) => unparsed(framer, exchange),
        (Driven::Complete | Driven::Closed, None)
            if is_complete && worker.is_closing_for(&conn) =>
        {
            Ended::Close(framer)
        }
        (Driven::Complete | Driven::Closed, None) if is_complete => Ended::KeepAlive(framer),
        (Driven::Closed, None) if progress.is_read_whole() => Ended::Close(framer),
        (Driven::Complete | Driven::Closed, None) => Ended::Linger(framer),
        (Driven::Failed, None) => Ended::Cut,
    }
}

/// What goes past hyper, which knows requests and responses alone.
struct Across {
    /// Until hyper has parsed the request.
    opened: RefCell<Option<Box<Exchange>>>,
    /// What is to follow the answer.
    tunnel: RefCell<Option<Tunnel>>,
}

/// hyper refused what the framer had let pass, and has written its own 400.
fn unparsed<S>(framer: Box<Framer<S>>, mut exchange: Box<Exchange>) -> Ended<S> {
    exchange.fail(Reason::BadRequest);
    exchange.respond(StatusCode::BAD_REQUEST);
    Ended::Linger(framer)
}

/// The client left in the middle of a head: nobody to answer, but a record to leave.
fn gone<S: ByteStream>(framer: &Framer<S>, conn: &Rc<Conn>, started: Instant) {
    let mut exchange = Exchange::open_refused(conn, started, framer.head_bytes(None));
    exchange.fail(Reason::ClientGone);
}

/// Answers a head that never got to hyper, and closes.
async fn refuse<S>(framer: &mut Framer<S>, conn: &Rc<Conn>, reason: Reason, started: Instant)
where
    S: ByteStream,
{
    let exchange = Exchange::open_refused(conn, started, framer.head_bytes(None));
    let Some(bytes) = refuse_raw(reason, exchange) else {
        return;
    };
    let written = async {
        framer.stream().write_all(&bytes).await?;
        framer.stream().flush().await
    };
    if matches!(timeout(CLOSE_TIMEOUT, written).await, Ok(Ok(()))) {
        linger(framer.stream()).await;
    }
}

/// Bytes of bodies that hyper may buffer. What it may of the request's it may of the response's, too, whose client may not read.
fn buffer(head: &Head) -> usize {
    match head.framing {
        Framing::Length(0) => RECORD,
        // Several become one write to the application.
        _ => 3 * RECORD,
    }
}
