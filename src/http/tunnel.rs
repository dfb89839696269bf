//! What follows a 101, or its likeness in HTTP/2 (RFC 8441): bytes both ways until both sides have ended. An idle tunnel owns
//! no buffer.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::timer::Timer;
use crate::failure::Reason;
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

/// The application's end of a tunnel, and the exchange that it belongs to.
pub(crate) struct Tunnel {
    pub(super) upstream: Box<dyn Duplex>,
    pub(super) exchange: Exchange,
}

/// One direction.
#[derive(Default)]
struct Way {
    /// Read and not yet written.
    held: Bytes,
    unflushed: bool,
    read_whole: bool,
    is_over: bool,
    /// Runs while its reader does not take what there is.
    owed: Option<Timer>,
}

impl Tunnel {
    /// Carries bytes until both sides have ended or one has failed. When only one side has ended, the other may go on for as
    /// long as it says something.
    pub(super) async fn run<S: Duplex>(self, mut downstream: S) {
        let Self {
            mut upstream,
            mut exchange,
        } = self;
        exchange.is_tunnel();
        let mut up = Way::default();
        // The agreement itself may still wait to leave.
        let mut down = Way {
            unflushed: true,
            ..Way::default()
        };
        let progress = exchange.progress();
        let mut half_open = None;
        let ended = poll_fn(|cx| {
            let upwards = up.poll(&mut downstream, &mut *upstream, cx);
            let downwards = down.poll(&mut *upstream, &mut downstream, cx);
            let moved = upwards.moved + downwards.moved;
            if upwards.moved > 0 {
                progress.count(upwards.moved);
            }
            exchange.sent(downwards.moved);
            match (upwards.failed, downwards.failed) {
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
            if downstream.poll_gone(cx).is_ready() {
                return Poll::Ready((!down.is_over).then_some(Reason::ClientGone));
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
        match ended {
            None => exchange.finish(),
            Some(reason) => exchange.fail(reason),
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

/// What came of moving.
#[derive(Default)]
struct Moved {
    /// Bytes written.
    moved: usize,
    failed: Option<Failed>,
}

/// Which side of a direction failed.
#[derive(Clone, Copy)]
enum Failed {
    Reading,
    Writing,
}

impl Way {
    /// Moves what can be moved now.
    fn poll<R, W>(&mut self, from: &mut R, to: &mut W, cx: &mut Context<'_>) -> Moved
    where
        R: Duplex + ?Sized,
        W: Duplex + ?Sized,
    {
        let mut done = Moved::default();
        done.failed = self.carry(from, to, cx, &mut done.moved).err();
        done
    }

    fn carry<R, W>(
        &mut self,
        from: &mut R,
        to: &mut W,
        cx: &mut Context<'_>,
        moved: &mut usize,
    ) -> Result<(), Failed>
    where
        R: Duplex + ?Sized,
        W: Duplex + ?Sized,
    {
        loop {
            if !self.held.is_empty() {
                match Pin::new(&mut *to).poll_write(cx, &self.held) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        *moved += count;
                        self.held.advance(count);
                        self.unflushed = true;
                    }
                    Poll::Ready(_) => return Err(Failed::Writing),
                    Poll::Pending => return Ok(()),
                }
                continue;
            }
            if self.unflushed {
                let flushed = Pin::new(&mut *to).poll_flush(cx);
                self.unflushed = flushed.map_err(|_| Failed::Writing)?.is_pending();
            }
            if self.is_over {
                return Ok(());
            }
            if self.read_whole {
                let shut = Pin::new(&mut *to).poll_shutdown(cx);
                self.is_over = shut.map_err(|_| Failed::Writing)?.is_ready();
                return Ok(());
            }
            let mut room = [const { MaybeUninit::<u8>::uninit() }; ROOM];
            let mut room = ReadBuf::uninit(&mut room);
            match Pin::new(&mut *from).poll_read(cx, &mut room) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(Failed::Reading),
                Poll::Ready(Ok(())) if room.filled().is_empty() => self.read_whole = true,
                Poll::Ready(Ok(())) => self.held = Bytes::copy_from_slice(room.filled()),
            }
        }
    }

    /// Whether its reader has not taken what there is for too long. TLS takes bytes that the socket does not, so what is not
    /// flushed counts, and an end that could not be said.
    fn is_stuck(&mut self, moved: usize, cx: &mut Context<'_>) -> bool {
        let is_owed = !self.held.is_empty() || self.unflushed || (self.read_whole && !self.is_over);
        if !is_owed {
            self.owed = None;
            return false;
        }
        expired(&mut self.owed, OWED, moved, cx)
    }
}

/// How long one direction may be silent after the other has ended.
const HALF_OPEN: Duration = Duration::from_secs(10);
/// How long bytes may wait for a side that does not take them. A tunnel may be silent for ever, but not that.
const OWED: Duration = Duration::from_secs(60);
/// Stack room for one read.
const ROOM: usize = 8 * 1024;
