//! What follows a 101, or its likeness in HTTP/2 (RFC 8441): bytes both ways until both sides have ended. An idle tunnel owns
//! no buffer.

mod way;
mod websocket;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use self::way::{Failed, Way};
use super::timer::Timer;
use crate::failure::Reason;
use crate::phase::Phase;
use crate::records::Exchange;
use crate::rewound::Rewound;

/// Bytes both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin {
    /// Ready when the other side is gone for good, although bytes of it may wait to be read.
    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for Rewound<S> {}

/// What goes through a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// WebSocket, whose clients can be told to go.
    WebSocket,
    /// A protocol that we do not know.
    Other,
}

/// The application's end of a tunnel, and the exchange that it belongs to.
pub(crate) struct Tunnel {
    pub(super) upstream: Box<dyn Duplex>,
    pub(super) exchange: Box<Exchange>,
    pub(super) spoken: Spoken,
}

impl Tunnel {
    /// Carries bytes until both sides have ended or one has failed. When only one side has ended, the other may go on for as
    /// long as it says something. At the end of the drain's delay the client of a WebSocket is told that the server goes away.
    pub(super) async fn run<S: Duplex>(self, mut downstream: S) {
        let Self {
            mut upstream,
            mut exchange,
            spoken,
        } = self;
        exchange.is_tunnel();
        let way = match spoken {
            Spoken::WebSocket => Way::of_frames,
            Spoken::Other => Way::default,
        };
        let (mut up, mut down) = (way(), way());
        // The agreement itself may still wait to leave.
        down.unflushed = true;
        let life = Arc::clone(&exchange.conn().site.life);
        let mut leaving = pin!(life.reached(Phase::Finishing));
        let (mut is_leaving, mut echo) = (false, None);
        let progress = exchange.progress();
        let mut half_open = None;
        let ended = poll_fn(|cx| {
            if !is_leaving && leaving.as_mut().poll(cx).is_ready() {
                is_leaving = true;
                down.say_goodbye();
            }
            let upwards = up.poll(&mut downstream, &mut *upstream, cx);
            let downwards = down.poll(&mut *upstream, &mut downstream, cx);
            let moved = upwards.moved + downwards.moved;
            if upwards.moved > 0 {
                progress.count(upwards.moved);
            }
            exchange.sent(downwards.moved);
            match (upwards.failed, downwards.failed) {
                // The client has been told to go, and one of the two has gone.
                (Some(_), _) | (_, Some(_)) if down.has_said_goodbye() => return Poll::Ready(None),
                // The application has said all it had to say, and the client has heard it: how it goes is its own business.
                (Some(Failed::Reading), _) if down.is_over => return Poll::Ready(None),
                (Some(Failed::Reading), _) | (_, Some(Failed::Writing)) => {
                    return Poll::Ready(Some(Reason::ClientGone));
                }
                (Some(Failed::Writing), _) | (_, Some(Failed::Reading)) => {
                    return Poll::Ready(Some(Reason::UpstreamTruncated));
                }
                (None, None) if up.is_over && down.is_over => return Poll::Ready(None),
                (None, None) => {}
            }
            if down.has_said_goodbye() {
                if up.is_closed() && !down.read_whole {
                    // Both have said that they will say no more (RFC 6455, section 7.1.1).
                    (up.read_whole, down.read_whole) = (true, true);
                    cx.waker().wake_by_ref();
                }
                // Whoever has more to say then has had the time for it.
                if expired(&mut echo, ECHO, 0, cx) {
                    let is_told = up.is_closed() && down.is_over;
                    return Poll::Ready((!is_told).then_some(Reason::DrainCut));
                }
            }
            if downstream.poll_gone(cx).is_ready() {
                return Poll::Ready(
                    (!down.is_over && !down.has_said_goodbye()).then_some(Reason::ClientGone),
                );
            }
            if up.is_stuck(upwards.moved, cx) {
                return Poll::Ready(Some(Reason::UpstreamTimeout));
            }
            if down.is_stuck(downwards.moved, cx) {
                return Poll::Ready(Some(Reason::ClientGone));
            }
            let is_half_open = up.is_over || down.is_over;
            if is_half_open && expired(&mut half_open, HALF_OPEN, moved, cx) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await;
        if down.has_said_goodbye() && ended.is_none() {
            // Nobody is told what becomes of it.
            let _ = timeout(LAST_MOMENT, downstream.shutdown()).await;
        }
        match ended {
            None => exchange.finish(),
            Some(reason) => {
                if reason == Reason::DrainCut {
                    exchange.conn().presence.was_cut();
                }
                exchange.fail(reason);
            }
        }
    }
}

/// Whether nothing has moved for so long since this was first asked.
fn expired(timer: &mut Option<Timer>, limit: Duration, moved: usize, cx: &mut Context<'_>) -> bool {
    let timer = timer.get_or_insert_with(|| Timer::new(limit));
    if moved > 0 {
        timer.set(limit);
    }
    timer.poll_expired(cx).is_ready()
}

/// How long one direction may be silent after the other has ended.
const HALF_OPEN: Duration = Duration::from_secs(10);
/// For the client's answer to the close frame.
const ECHO: Duration = Duration::from_secs(5);
/// For the end of the connection to leave.
const LAST_MOMENT: Duration = Duration::from_secs(1);
