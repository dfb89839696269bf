//! The life of one connection, top to bottom. This is the one file that knows the order of the stages.

use std::rc::Rc;

use crate::conn::Conn;
use crate::forward::forward;
use crate::http::{serve_h1, serve_h2, serve_redirect};
use crate::listener::Accepted;
use crate::metrics::Counted;
use crate::tls::{Protocol, Secured, handshake};
use crate::worker::Worker;

/// An HTTPS connection: accepted, secured, served as what ALPN agreed on, each request forwarded.
pub(crate) async fn serve(accepted: Accepted, worker: Rc<Worker>) {
    let Some(secured) = handshake(accepted, &worker).await else {
        return;
    };
    let Secured {
        stream,
        conn,
        protocol,
        slot: _slot,
    } = secured;
    let _open = Counted::new(&worker.site.meter.conns.open);
    let next = {
        let worker = Rc::clone(&worker);
        move |request, exchange| forward(request, exchange, Rc::clone(&worker))
    };
    let watched = conn.tenure.depends_on_trust().then(|| Rc::clone(&conn));
    let serving = async {
        match protocol {
            Protocol::Http1 => serve_h1(stream, conn, &worker, next).await,
            Protocol::Http2 => Box::pin(serve_h2(stream, conn, &worker, next)).await,
        }
    };
    match watched {
        None => serving.await,
        Some(conn) => Box::pin(while_trusted(serving, &conn, &worker)).await,
    }
}

/// With `--close-on-trust-change`: what is still there when its time is over is cut.
async fn while_trusted(serving: impl Future<Output = ()>, conn: &Conn, worker: &Worker) {
    tokio::select! {
        () = serving => {}
        () = worker.outlived_trust(conn) => {}
    }
}

/// A plain HTTP connection: every request is sent to HTTPS.
pub(crate) async fn redirect(accepted: Accepted, worker: Rc<Worker>) {
    let _open = Counted::new(&worker.site.meter.conns.open);
    serve_redirect(accepted, &worker).await;
}
