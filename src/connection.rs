//! The life of one connection, top to bottom. This is the one file that knows the order of the stages.

use std::cell::Cell;
use std::rc::Rc;

use crate::census::Kind;
use crate::conn::Conn;
use crate::forward::forward;
use crate::http::{serve_h1, serve_h2};
use crate::listener::Accepted;
use crate::metrics::Counted;
use crate::origin::settle;
use crate::redirect::{Door, let_through, redirect};
use crate::tenure::Tenure;
use crate::tls::{Arrived, Protocol, Secured, handshake};
use crate::worker::Worker;

/// A connection to the HTTPS port: accepted, known, secured, served as what ALPN agreed on, each request forwarded.
pub(crate) fn serve(accepted: Accepted, worker: Rc<Worker>) -> impl Future<Output = ()> {
    // Boxed here already, so that an idle connection does not keep the room for how it began.
    let securing = Box::pin(secure(accepted, Rc::clone(&worker)));
    async move {
        let Some(secured) = securing.await else {
            return;
        };
        serve_secured(secured, worker).await;
    }
}

/// None when there is nothing to be secured any more: one that speaks plain HTTP is served here.
async fn secure(accepted: Accepted, worker: Rc<Worker>) -> Option<Secured> {
    let accepted = Box::pin(settle(accepted, &worker)).await?;
    match Box::pin(handshake(accepted, &worker)).await? {
        Arrived::Secured(secured) => Some(secured),
        Arrived::Plain(accepted) => {
            serve_plain(accepted, worker, Door::Https).await;
            None
        }
    }
}

fn serve_secured(secured: Secured, worker: Rc<Worker>) -> impl Future<Output = ()> {
    // Taken apart here, so that the parts are not kept twice.
    let Secured {
        stream,
        conn,
        protocol,
        slot,
    } = secured;
    conn.presence.becomes(match protocol {
        Protocol::Http1 => Kind::Http1,
        Protocol::Http2 => Kind::Http2,
    });
    // Boxed here, where it is made: it is large, and each stage would move it on.
    let next = {
        let worker = Rc::clone(&worker);
        move |request, exchange| Box::pin(forward(request, exchange, Rc::clone(&worker)))
    };
    let watched = conn.tenure.depends_on_trust().then(|| Rc::clone(&conn));
    async move {
        let _slot = slot;
        let _open = Counted::new(&worker.site.meter.conns.open);
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
}

/// With `--close-on-trust-change`: what is still there when its time is over is cut.
async fn while_trusted(serving: impl Future<Output = ()>, conn: &Conn, worker: &Worker) {
    tokio::select! {
        () = serving => {}
        () = worker.outlived_trust(conn) => {}
    }
}

/// A connection to the redirect port.
pub(crate) async fn serve_redirect(accepted: Accepted, worker: Rc<Worker>) {
    if let Some(accepted) = settle(accepted, &worker).await {
        serve_plain(accepted, worker, Door::Redirect).await;
    }
}

/// Plain HTTP: every request is sent to HTTPS.
async fn serve_plain(accepted: Accepted, worker: Rc<Worker>, door: Door) {
    let Accepted {
        stream,
        client,
        is_unnamed,
        slot: _slot,
        presence,
        ..
    } = accepted;
    let _open = Counted::new(&worker.site.meter.conns.open);
    presence.becomes(Kind::Http1);
    let conn = Conn {
        site: worker.site.clone(),
        client,
        client_ip: client.ip().to_string().into(),
        is_unnamed,
        tls: None,
        handshake: Cell::default(),
        peer: None,
        tenure: Tenure::default(),
        wire: stream.gauge(),
        cut: Cell::default(),
        presence,
    };
    let next = {
        let worker = Rc::clone(&worker);
        move |mut request: Box<_>, exchange| {
            let worker = Rc::clone(&worker);
            Box::pin(async move {
                if door == Door::Redirect && let_through(&mut request, &worker.config) {
                    return forward(request, exchange, worker).await;
                }
                redirect(&request, exchange, &worker.config, door)
            })
        }
    };
    serve_h1(stream, Rc::new(conn), &worker, next).await;
}
