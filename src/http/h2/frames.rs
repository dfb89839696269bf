//! The connection's bytes on their way to the `h2` crate and back, counted frame by frame.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::gathered::Gathered;
use super::tally::Tally;
use crate::http::timer::Timer;

/// A connection whose frames are counted.
#[derive(Debug)]
pub(super) struct Frames<S> {
    gathered: Rc<Gathered<S>>,
    tally: Rc<Tally>,
    /// Runs while what a refused client still sends is thrown away.
    lingers: Option<Timer>,
}

impl<S> Frames<S> {
    pub(super) fn new(gathered: &Rc<Gathered<S>>, tally: &Rc<Tally>) -> Self {
        Self {
            gathered: Rc::clone(gathered),
            tally: Rc::clone(tally),
            lingers: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.tally.is_spent() {
            // Nothing more of it is read, and who drives the connection looks why.
            return Poll::Pending;
        }
        let before = out.filled().len();
        ready!(self.gathered.with(|stream| stream.poll_read(cx, out)))?;
        self.tally.received(&out.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.gathered.poll_write(parts, cx))?;
        let mut left = count;
        for part in parts {
            let taken = left.min(part.len());
            self.tally.sent(&part[..taken]);
            left -= taken;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gathered.poll_flush(cx)
    }

    /// A client may still be talking, if only to open its window while it reads the end of an answer. Closed with unread bytes
    /// the connection would be reset, and the reset would overtake that, or the GOAWAY that tells why it is sent away. So it is
    /// read on, until the client closes or has been silent for a while.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            gathered,
            tally,
            lingers,
        } = &mut *self;
        if lingers.is_none() {
            ready!(gathered.poll_send(cx))?;
            ready!(gathered.with(|stream| stream.poll_shutdown(cx)))?;
        }
        let is_sent_away = tally.ended().is_some();
        let patience = if is_sent_away { LINGER } else { SILENCE };
        let timer = lingers.get_or_insert_with(|| Timer::new(patience));
        let mut room = [0; 4096];
        loop {
            if timer.poll_expired(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut rest = ReadBuf::new(&mut room);
            let read = ready!(gathered.with(|stream| stream.poll_read(cx, &mut rest)));
            if read.is_err() || rest.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            if !is_sent_away {
                timer.set(SILENCE);
            }
        }
    }
}

/// For a client that reads the end of an answer to say something.
const SILENCE: Duration = Duration::from_secs(5);
/// For a client to read why it is sent away.
const LINGER: Duration = Duration::from_millis(500);
