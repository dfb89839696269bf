//! Waiting for the head of a response: under a limit on progress, with what the application says ahead of it.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Response, StatusCode};
use tokio::time::timeout_at;

use super::Errand;
use crate::failure::Reason;
use crate::headers;

/// What the application says.
pub(super) enum Heard<T> {
    /// 100, 103 and the like.
    Interim(Response<()>),
    Final(T),
}

/// Waits for the head of the response. The limit runs from the last time that the request moved: a slow upload is
/// legitimate. While it is the client who is waited for, its own limits hold, and end this wait, too.
pub(super) async fn answer<T>(
    mut hear: impl FnMut(&mut Context<'_>) -> Poll<Heard<T>>,
    errand: &Errand<'_>,
    limit: Option<Duration>,
) -> Result<T, Reason> {
    let progress = errand.exchange.progress();
    let mut hear = |cx: &mut Context<'_>| match progress.take_sentence() {
        Some(reason) => Poll::Ready(Err(reason)),
        None => hear(cx).map(Ok),
    };
    let mut began = Instant::now();
    let mut asks_at = errand.gate.map(|_| began + LONGEST_SILENCE);
    let mut told = 0;
    loop {
        let moved = progress.moved().unwrap_or(began).max(began);
        let ends_at = limit.map(|limit| moved + limit);
        let heard = match ends_at.into_iter().chain(asks_at).min() {
            Some(wake) => timeout_at(wake.into(), poll_fn(&mut hear)).await.ok(),
            None => Some(poll_fn(&mut hear).await),
        };
        match heard {
            Some(Err(reason)) => return Err(reason),
            Some(Ok(Heard::Final(answered))) => return Ok(answered),
            Some(Ok(Heard::Interim(interim))) => {
                told += 1;
                if told > MOST_HEARD {
                    return Err(Reason::UpstreamMalformed);
                }
                if interim.status() == StatusCode::CONTINUE {
                    if asks_at.take().is_some() {
                        ask_for_body(errand);
                    }
                } else if told <= MOST_INTERIM {
                    pass_on(interim, errand);
                }
                continue;
            }
            None => {}
        }
        let now = Instant::now();
        if asks_at.is_some_and(|at| at <= now) {
            // An application that knows no better never asks.
            asks_at = None;
            ask_for_body(errand);
            continue;
        }
        if ends_at.is_some_and(|at| at <= now) && progress.moved().is_none_or(|now| now <= moved) {
            if !progress.is_awaiting_client() {
                return Err(Reason::UpstreamTimeout);
            }
            began = now;
        }
    }
}

fn ask_for_body(errand: &Errand<'_>) {
    if let Some(gate) = errand.gate {
        gate.open();
    }
    let mut asked = Response::new(());
    *asked.status_mut() = StatusCode::CONTINUE;
    errand.exchange.progress().tell(asked);
}

/// HTTP/2 clients are told. Of those of HTTP/1 many take whatever comes first for the answer, so they are left alone (RFC 8297,
/// section 3).
fn pass_on(mut interim: Response<()>, errand: &Errand<'_>) {
    if errand.exchange.is_http2() && interim.status() == StatusCode::EARLY_HINTS {
        headers::to_downstream(interim.status(), interim.headers_mut());
        errand.exchange.progress().tell(interim);
    }
}

/// How long a body waits for an application that does not ask for it.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);
/// Interim responses passed on at most.
const MOST_INTERIM: usize = 16;
/// An application that says more than that without an answer says nothing.
const MOST_HEARD: usize = 4096;
