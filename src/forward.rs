//! One request to the application and its response back.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Instant;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::timeout;
use uuid::fmt::Hyphenated;

use crate::failure::Reason;
use crate::headers::{self, OwnWords};
use crate::http::{RequestBody, ResponseBody, refuse};
use crate::records::Exchange;
use crate::upstream::{Lease, Target, dial};
use crate::worker::Worker;

/// The client is gone, or must be made to notice: there is nobody to answer.
#[derive(Debug, thiserror::Error)]
#[error("the exchange ended without an answer")]
pub(crate) struct Unanswerable;

/// Forwards a request, or answers it with the reason why not. The exchange's record is closed by the response's body.
pub(crate) async fn forward(
    mut request: Request<RequestBody>,
    mut exchange: Exchange,
    worker: Rc<Worker>,
) -> Result<Response<ResponseBody>, Unanswerable> {
    let target = worker.target();
    exchange.bound_for(&target);
    if let Err(reason) = prepare(&mut request, &exchange, &worker, &target) {
        return refuse(reason, exchange).ok_or(Unanswerable);
    }
    match ask(request, &mut exchange, &worker, &target).await {
        Ok((response, lease)) => {
            exchange.respond(response.status());
            let (mut head, body) = response.into_parts();
            headers::to_downstream(&mut head.headers, worker.config.hsts);
            Ok(Response::from_parts(
                head,
                ResponseBody::upstream(body, lease, exchange),
            ))
        }
        Err(reason) => refuse(reason, exchange).ok_or(Unanswerable),
    }
}

fn prepare(
    request: &mut Request<RequestBody>,
    exchange: &Exchange,
    worker: &Worker,
    target: &Target,
) -> Result<(), Reason> {
    let id = exchange.id().hyphenated();
    let mut buffer = [0; Hyphenated::LENGTH];
    let own = OwnWords {
        client: exchange.conn().client.ip(),
        request_id: id.encode_lower(&mut buffer),
        public_port: worker.config.redirect_port,
        default_host: target.url.authority(),
    };
    headers::to_upstream(request, &own)
}

/// Sends the request and waits for the head of the response.
///
/// A kept connection may have been closed by the application just now. hyper hands the request back when it never got
/// onto the wire; such a request is sent again, on a connection that is new and therefore cannot be stale.
async fn ask(
    mut request: Request<RequestBody>,
    exchange: &mut Exchange,
    worker: &Rc<Worker>,
    target: &Target,
) -> Result<(Response<Incoming>, Lease), Reason> {
    let mut fresh = false;
    loop {
        let mut lease = lease(exchange, worker, target, fresh).await?;
        exchange.sent_to(lease.address());
        let sent = lease.sender().try_send_request(request);
        let answered = timeout(worker.config.limits.response_timeout, sent).await;
        let mut error = match answered.map_err(|_| Reason::UpstreamTimeout)? {
            Ok(response) => return Ok((response, lease)),
            Err(error) => error,
        };
        match error.take_message() {
            Some(unsent) if lease.reused && !fresh => {
                (request, fresh) = (unsent, true);
                exchange.retried();
                worker.site.meter.retried();
            }
            _ => return Err(sort(&error.into_error(), exchange)),
        }
    }
}

/// A connection that can take a request now.
async fn lease(
    exchange: &mut Exchange,
    worker: &Rc<Worker>,
    target: &Target,
    fresh: bool,
) -> Result<Lease, Reason> {
    if !fresh && let Some(lease) = worker.pool.take(target.number) {
        return Ok(lease);
    }
    let began = Instant::now();
    let dialed = dial(target, &worker.own, &worker.config.limits).await;
    exchange.connected(began.elapsed());
    let mut lease = worker
        .pool
        .lease(dialed.map_err(|error| error.reason())?, target.number);
    poll_fn(|cx| lease.sender().poll_ready(cx))
        .await
        .map_err(|_| Reason::UpstreamClosed)?;
    Ok(lease)
}

/// Whose fault a failed request is: a client that broke its own body is not the application's failure.
fn sort(error: &hyper::Error, exchange: &Exchange) -> Reason {
    if let Some(reason) = exchange.progress().failed() {
        return reason;
    }
    if error.is_parse() {
        Reason::UpstreamMalformed
    } else {
        Reason::UpstreamClosed
    }
}
