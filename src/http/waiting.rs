//! Waiting for the next head on a connection, idle and slow told apart: the idle limit runs between two requests, the head
//! limit from a head's first byte, and a drain ends the one and not the other.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::futures::Notified;

use super::framer::{Framer, Next};
use super::head::Head;
use super::timer::Timer;
use crate::byte_stream::ByteStream;
use crate::conn::Conn;
use crate::failure::Reason;
use crate::worker::Worker;

/// One connection's waiting.
pub(super) struct Waiting<'a> {
    worker: &'a Worker,
    conn: &'a Conn,
    timer: Timer,
    /// Nothing was asked yet.
    is_new: bool,
    /// Registered for the connection's life, and again each time it has woken.
    changed: Pin<Box<Notified<'a>>>,
}

/// What came of waiting.
pub(super) enum Arrival {
    Head(Box<Head>, Instant),
    /// Nothing more comes, or nothing more is wanted.
    Over,
    /// The client left in the middle of a head that began then.
    Gone(Instant),
    Refused(Reason, Instant),
}

impl<'a> Waiting<'a> {
    pub(super) fn new(worker: &'a Worker, conn: &'a Conn) -> Self {
        let timer = Timer::new(worker.config.limits.idle_timeout);
        Self {
            worker,
            conn,
            timer,
            is_new: true,
            changed: Box::pin(worker.changed().notified()),
        }
    }

    pub(super) async fn next<S: ByteStream>(&mut self, framer: &RefCell<Framer<S>>) -> Arrival {
        let limits = &self.worker.config.limits;
        self.timer.set(limits.idle_timeout);
        // Set when the first bytes of a head are here.
        let mut started = None;
        let mut is_last_chance = false;
        let arrival = poll_fn(|cx| {
            let mut framer = framer.borrow_mut();
            let next = framer.poll_next(limits.into(), cx);
            if started.is_none()
                && (framer.has_partial() || matches!(next, Poll::Ready(Next::Refused(_))))
            {
                started = Some(Instant::now());
                if next.is_pending() {
                    self.timer.set(limits.head_timeout);
                }
            }
            let began = started.unwrap_or_else(Instant::now);
            match next {
                Poll::Ready(Next::Head(head)) => return Poll::Ready(Arrival::Head(head, began)),
                Poll::Ready(Next::End) => return Poll::Ready(Arrival::Over),
                Poll::Ready(Next::Gone) => return Poll::Ready(Arrival::Gone(began)),
                Poll::Ready(Next::Refused(reason)) => {
                    return Poll::Ready(Arrival::Refused(reason, began));
                }
                Poll::Pending => {}
            }
            while self.changed.as_mut().poll(cx).is_ready() {
                self.changed.set(self.worker.changed().notified());
            }
            if started.is_none() && self.worker.is_closing_for(self.conn) {
                if !self.is_new {
                    return Poll::Ready(Arrival::Over);
                }
                // Who has just been let in is about to ask.
                if !is_last_chance {
                    is_last_chance = true;
                    self.timer.set(NEWCOMER);
                }
            }
            self.timer.poll_expired(cx).map(|()| match started {
                Some(started) => Arrival::Refused(Reason::HeadTimeout, started),
                None => Arrival::Over,
            })
        })
        .await;
        self.is_new = false;
        arrival
    }
}

/// For the first request on a connection that was made while the doors were being closed.
const NEWCOMER: Duration = Duration::from_secs(1);
