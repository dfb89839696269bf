//! The body of a response, read as it is asked for: little at a time, but for a few long ones at a time, which are worth large
//! reads.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::response::Left;
use crate::places::Place;
use crate::upstream::Lease;

/// The body of a response, and the connection that it comes by.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// None when nothing more may be read.
    lease: Option<Lease>,
    left: Left,
    /// What has come and was not handed on.
    ahead: Bytes,
    /// Room to read into.
    buffer: BytesMut,
    /// How much is read at once.
    room: usize,
    /// The right to read more than is usual.
    large: Option<Place>,
}

impl Incoming {
    pub(super) fn new(lease: Lease, left: Left, ahead: Bytes) -> Self {
        let mut body = Self {
            lease: Some(lease),
            left,
            ahead,
            buffer: BytesMut::new(),
            room: FEW,
            large: None,
        };
        if matches!(body.left, Left::Length(length) if length > USUAL as u64) {
            body.room = if body.is_large() { MOST } else { USUAL };
        }
        body
    }

    /// All was read: the next exchange may have the connection.
    pub(crate) fn give_back(&mut self) {
        if let Some(mut lease) = self.lease.take() {
            if !self.ahead.is_empty() {
                // Nobody has asked for what follows.
                lease.retire();
            }
            lease.give_back();
        }
    }

    /// The rest is not wanted, and the connection closes.
    pub(crate) fn abandon(&mut self) {
        self.lease = None;
    }

    /// Reads on. No bytes are the end of the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(lease) = &self.lease else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let room = match self.left {
            // One byte more than can come: a read that does not fill its room has emptied the socket, and the next one need
            // not try.
            Left::Length(left) => usize::try_from(left).map_or(MOST, |left| left.saturating_add(1)),
            Left::Chunked(_) | Left::UntilClose => MOST,
        };
        let room = room.min(self.room);
        if !self.buffer.try_reclaim(room) {
            self.buffer = BytesMut::with_capacity(room);
        }
        let count = ready!(lease.connection().poll_read(&mut self.buffer, cx))?;
        let is_full = count == self.buffer.capacity();
        self.ahead = self.buffer.split().freeze();
        self.adapt(count, is_full);
        Poll::Ready(Ok(count))
    }

    /// Reads more at once where there is more, and less where there is not.
    fn adapt(&mut self, count: usize, is_full: bool) {
        if is_full && (self.room < USUAL || self.is_large()) {
            self.room = (self.room * 2).min(MOST);
        } else if self.room > USUAL && count < USUAL / 2 {
            self.room = USUAL;
            self.large = None;
        }
    }

    fn is_large(&mut self) -> bool {
        if self.large.is_none() {
            self.large = self.lease.as_ref().and_then(Lease::large);
        }
        self.large.is_some()
    }

    /// The next part of what has come.
    fn next(&mut self) -> io::Result<Option<Frame<Bytes>>> {
        match &mut self.left {
            Left::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = self.ahead.split_to(most.min(self.ahead.len()));
                *left -= data.len() as u64;
                Ok(some(data))
            }
            Left::UntilClose => Ok(some(std::mem::take(&mut self.ahead))),
            Left::Chunked(chunked) => {
                let frame = chunked.next(&mut self.ahead)?;
                if chunked.is_over() {
                    self.left = Left::Length(0);
                }
                Ok(frame)
            }
        }
    }
}

fn some(data: Bytes) -> Option<Frame<Bytes>> {
    (!data.is_empty()).then(|| Frame::data(data))
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if self.is_end_stream() {
                return Poll::Ready(None);
            }
            if let Some(frame) = self.next()? {
                return Poll::Ready(Some(Ok(frame)));
            }
            if !self.is_end_stream() && ready!(self.poll_read(cx))? == 0 {
                if !matches!(self.left, Left::UntilClose) {
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                self.left = Left::Length(0);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.left, Left::Length(0))
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Left::Length(left) => SizeHint::with_exact(left),
            Left::Chunked(_) | Left::UntilClose => SizeHint::default(),
        }
    }
}

/// Bytes read at once where nobody knows how many come.
const FEW: usize = 8 * 1024;
/// The most for everybody.
const USUAL: usize = 32 * 1024;
/// The most for a few at a time. A client that does not read keeps so many waiting; each piece is a wake-up of several tasks,
/// which is what a long response costs beside TLS.
const MOST: usize = 256 * 1024;
