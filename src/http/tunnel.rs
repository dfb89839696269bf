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
}

impl Tunnel {
    /// Carries bytes until both sides have ended or one has failed. When only one side has ended, the other may go on for as
    /// long as it says something.
    pub(super) async fn run<S: Duplex>(self, mut downstream: S) {
        let Self {
            mut upstream,
            mut exchange,
        } = self;
        let (mut up, mut down) = (Way::default(), Way::default());
        let progress = exchange.progress();
        let (mut half_open, mut owed) = (None, None);
        let ended = poll_fn(|cx| {
            let mut moved = 0;
            let upwards = up.poll(&mut downstream, &mut *upstream, cx, |count| {
                moved += count;
                progress.count(count);
            });
            let downwards = down.poll(&mut *upstream, &mut downstream, cx, |count| {
                moved += count;
                exchange.sent(count);
            });
            match (upwards, downwards) {
                // The application has said all it had to say, and the client has heard it: how it goes is its own business.
                (Err(Failed::Reading), _) if down.is_over => return Poll::Ready(None),
                (Err(Failed::Reading), _) | (_, Err(Failed::Writing)) => {
                    return Poll::Ready(Some(Reason::ClientGone));
                }
                (Err(Failed::Writing), _) | (_, Err(Failed::Reading)) => {
                    return Poll::Ready(Some(Reason::UpstreamTruncated));
                }
                (Ok(()), Ok(())) if up.is_over && down.is_over => return Poll::Ready(None),
                (Ok(()), Ok(())) => {}
            }
            if downstream.poll_gone(cx).is_ready() {
                return Poll::Ready((!down.is_over).then_some(Reason::ClientGone));
            }
            if up.held.is_empty() && down.held.is_empty() {
                owed = None;
            } else if expired(&mut owed, OWED, moved, cx) {
                let is_apps = !up.held.is_empty();
                return Poll::Ready(Some(if is_apps {
                    Reason::UpstreamTimeout
                } else {
                    Reason::ClientGone
                }));
            }
            if !up.is_over && !down.is_over {
                return Poll::Pending;
            }
            if expired(&mut half_open, HALF_OPEN, moved, cx) {
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

/// Which side of a direction failed.
enum Failed {
    Reading,
    Writing,
}

impl Way {
    /// Moves what can be moved now; `moved` is told how much was written.
    fn poll<R, W>(
        &mut self,
        from: &mut R,
        to: &mut W,
        cx: &mut Context<'_>,
        mut moved: impl FnMut(usize),
    ) -> Result<(), Failed>
    where
        R: Duplex + ?Sized,
        W: Duplex + ?Sized,
    {
        loop {
            if !self.held.is_empty() {
                match Pin::new(&mut *to).poll_write(cx, &self.held) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        moved(count);
                        self.held.advance(count);
                        self.unflushed = true;
                    }
                    Poll::Ready(_) => return Err(Failed::Writing),
                    Poll::Pending => return Ok(()),
                }
                continue;
            }
            if self.unflushed
                && Pin::new(&mut *to)
                    .poll_flush(cx)
                    .map_err(|_| Failed::Writing)?
                    .is_ready()
            {
                self.unflushed = false;
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
}

/// How long one direction may be silent after the other has ended.
const HALF_OPEN: Duration = Duration::from_secs(10);
/// How long bytes may wait for a side that does not take them. A tunnel may be silent for ever, but not that.
const OWED: Duration = Duration::from_secs(60);
/// Stack room for one read.
const ROOM: usize = 8 * 1024;
