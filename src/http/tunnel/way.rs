//! One direction of a tunnel.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::ReadBuf;

use super::websocket::{Frames, GOING_AWAY};
use super::{Duplex, expired};
use crate::http::timer::Timer;

/// One direction.
#[derive(Default)]
pub(super) struct Way {
    /// Read and not yet written.
    held: Bytes,
    pub(super) unflushed: bool,
    pub(super) read_whole: bool,
    pub(super) is_over: bool,
    /// Where it is in the frames of a WebSocket.
    pub(super) frames: Option<Frames>,
    goodbye: Goodbye,
    /// Runs while its reader does not take what there is.
    owed: Option<Timer>,
}

/// What came of moving.
#[derive(Default)]
pub(super) struct Moved {
    /// Bytes written.
    pub(super) moved: usize,
    pub(super) failed: Option<Failed>,
}

/// Which side of a direction failed.
#[derive(Clone, Copy)]
pub(super) enum Failed {
    Reading,
    Writing,
}

/// Whether a WebSocket's client is told that the server goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Goodbye {
    #[default]
    NotYet,
    /// As soon as no frame is half sent.
    Due,
    /// What the application says from now on comes too late.
    Said,
}

impl Way {
    /// One of a WebSocket, where frames are told apart.
    pub(super) fn of_frames() -> Self {
        Self {
            frames: Some(Frames::default()),
            ..Self::default()
        }
    }

    /// Says goodbye at the next end of a frame, unless the application has.
    pub(super) fn say_goodbye(&mut self) {
        if self
            .frames
            .as_ref()
            .is_some_and(|frames| !frames.is_closed())
        {
            self.goodbye = Goodbye::Due;
        }
    }

    pub(super) fn has_said_goodbye(&self) -> bool {
        self.goodbye == Goodbye::Said
    }

    /// Whether this side has said, to its end, that it will say no more.
    pub(super) fn is_closed(&self) -> bool {
        let is_closed = self.frames.as_ref().is_some_and(Frames::is_closed);
        self.read_whole || (is_closed && self.held.is_empty() && !self.unflushed)
    }

    /// How many of the bytes that are held may go.
    fn sendable(&self) -> usize {
        match (&self.frames, self.goodbye) {
            (Some(frames), Goodbye::Due) => frames.rest(&self.held),
            _ => self.held.len(),
        }
    }

    /// Takes the place of what is held, where it may.
    fn takes_leave(&mut self) -> bool {
        let is_between = self.frames.as_ref().is_some_and(Frames::is_between);
        let now = self.goodbye == Goodbye::Due && is_between && !self.read_whole;
        if now {
            self.held = Bytes::from_static(GOING_AWAY);
            self.goodbye = Goodbye::Said;
        }
        now
    }

    /// Moves what can be moved now.
    pub(super) fn poll<R, W>(&mut self, from: &mut R, to: &mut W, cx: &mut Context<'_>) -> Moved
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
            if self.takes_leave() {
                continue;
            }
            if !self.held.is_empty() {
                let most = self.sendable();
                match Pin::new(&mut *to).poll_write(cx, &self.held[..most]) {
                    Poll::Ready(Ok(count)) if count > 0 => {
                        *moved += count;
                        if let Some(frames) = &mut self.frames {
                            frames.pass(&self.held[..count]);
                        }
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
                Poll::Ready(Ok(())) if self.has_said_goodbye() => {}
                Poll::Ready(Ok(())) => self.held = Bytes::copy_from_slice(room.filled()),
            }
        }
    }

    /// Whether its reader has not taken what there is for too long. TLS takes bytes that the socket does not, so what is not
    /// flushed counts, and an end that could not be said.
    pub(super) fn is_stuck(&mut self, moved: usize, cx: &mut Context<'_>) -> bool {
        let is_owed = !self.held.is_empty() || self.unflushed || (self.read_whole && !self.is_over);
        if !is_owed {
            self.owed = None;
            return false;
        }
        expired(&mut self.owed, OWED, moved, cx)
    }
}

/// How long bytes may wait for a side that does not take them. A tunnel may be silent for ever, but not that.
const OWED: Duration = Duration::from_secs(60);
/// Stack room for one read.
const ROOM: usize = 8 * 1024;
