//! A request to an application that speaks HTTP/1.

use std::time::Instant;

use http::{Request, Response};
use tokio::task::{AbortHandle, spawn_local};

use super::framing::is_framed_once;
use super::wait::{Heard, answer};
use super::{Errand, STALE, is_repeatable, keep_short};
use crate::failure::Reason;
use crate::http::{RequestBody, Sending, Source};
use crate::records::Exchange;
use crate::upstream::{self, Asking, Failure, Lease, Rest};

/// Sends the request and waits for the head of the response.
///
/// A kept connection may have been closed by the application just now, and whoever used it would get a 502 for nothing. A
/// request that is idempotent (RFC 9110, section 9.2.2) and whose body, if it has any, is short is sent again, once, when the
/// connection ended before there was an answer: on one that is new and therefore cannot be stale.
pub(super) async fn ask(
    mut request: Box<Request<RequestBody>>,
    errand: &mut Errand<'_>,
) -> Result<Response<Source>, Reason> {
    let is_repeatable = is_repeatable(&request);
    if is_repeatable {
        keep_short(&mut request, errand).await;
    }
    let again = is_repeatable.then(|| request.body().copy()).flatten();
    let wish = if again.is_some() {
        Wish::Any
    } else {
        Wish::Safe
    };
    let first = lease(errand, wish).await?;
    let again = again.filter(|_| first.reused);
    let body = request.body_mut().take();
    let mut asking = begin(&request, body, first, errand);
    let mut heard = hear(&mut asking, errand).await?;
    if let (Some(body), Err(Failure::Ended)) = (again, &heard) {
        // Its place may be the one that the next needs.
        drop(asking);
        (asking, heard) = Box::pin(once_more(&mut request, body, errand)).await?;
    }
    let heard = heard.map_err(|failure| sort(failure, errand.exchange))?;
    accept(asking, heard, errand)
}

/// Sends it with this body, after it had met a connection that was stale.
async fn once_more(
    request: &mut Request<RequestBody>,
    body: RequestBody,
    errand: &mut Errand<'_>,
) -> Result<(Box<Asking>, Result<upstream::Heard, Failure>), Reason> {
    errand.exchange.progress().starts_over();
    errand.exchange.retried(STALE);
    errand.exchange.asks(request.headers_mut());
    let fresh = lease(errand, Wish::Fresh).await?;
    let mut asking = begin(request, body, fresh, errand);
    let heard = hear(&mut asking, errand).await?;
    Ok((asking, heard))
}

/// Begins to send it, with this body, on this connection.
pub(super) fn begin(
    request: &Request<RequestBody>,
    body: RequestBody,
    lease: Lease,
    errand: &mut Errand<'_>,
) -> Box<Asking> {
    errand.exchange.sent_to(lease.address());
    Asking::new(lease, request, body, !errand.exchange.is_http2())
}

/// Sends on, and waits for what is no interim answer.
pub(super) async fn hear(
    asking: &mut Asking,
    errand: &Errand<'_>,
) -> Result<Result<upstream::Heard, Failure>, Reason> {
    let hear = |cx: &mut std::task::Context<'_>| {
        asking.poll(cx).map(|heard| match heard {
            Ok(upstream::Heard::Interim(interim)) => Heard::Interim(interim),
            heard => Heard::Final(heard),
        })
    };
    answer(hear, errand, errand.limit()).await
}

/// A response that can be passed on: framed in one way, and no 101, which would end HTTP on the connection.
pub(super) fn accept(
    asking: Box<Asking>,
    heard: upstream::Heard,
    errand: &Errand<'_>,
) -> Result<Response<Source>, Reason> {
    let upstream::Heard::Head(mut head) = heard else {
        return Err(Reason::UpstreamMalformed);
    };
    if !is_framed_once(head.fields()) {
        return Err(Reason::UpstreamMalformed);
    }
    errand.exchange.progress().spells(head.take_spelling());
    let (response, rest) = asking.into_answer(head);
    let sending = Sending(rest.map(|rest| go_on(rest, errand)));
    Ok(response.map(|body| Source::H1(Box::new(body), sending)))
}

/// Sends on while the answer is read, whose client may read it when all is sent. Once that is over, a body that does not move
/// any more is given up.
fn go_on(rest: Rest, errand: &Errand<'_>) -> AbortHandle {
    let progress = errand.exchange.progress();
    let limit = errand.worker.config.limits.response_timeout;
    let sending = async move {
        tokio::select! {
            () = rest.send() => {}
            () = progress.until_nobody_cares(limit) => {}
        }
    };
    spawn_local(sending).abort_handle()
}

/// Which connection will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Any: the request can be sent again.
    Any,
    /// One that is not likely to be closed just now.
    Safe,
    /// None that was used before.
    Fresh,
}

/// A connection that can take a request now.
pub(super) async fn lease(errand: &mut Errand<'_>, wish: Wish) -> Result<Lease, Reason> {
    let (worker, target) = (errand.worker, errand.target);
    if wish != Wish::Fresh
        && let Some(lease) = worker.pool.take(target.number, wish == Wish::Any)
    {
        return Ok(lease);
    }
    let began = Instant::now();
    // Boxed: few requests need it, and all would be moved with the room for it.
    let connected = Box::pin(worker.pool.connect(target, &worker.dialer)).await;
    errand.exchange.connected(began.elapsed());
    connected
}

/// Whose fault a failed request is: a client that broke its own body is not the application's failure.
pub(super) fn sort(failure: Failure, exchange: &Exchange) -> Reason {
    let own = match failure {
        Failure::Malformed => Reason::UpstreamMalformed,
        Failure::Ended | Failure::Unsendable => Reason::UpstreamClosed,
    };
    exchange.progress().failed().unwrap_or(own)
}
