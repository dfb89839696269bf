//! The thin layer between TLS and hyper.
//!
//! It reads each request head strictly, frames the body behind it, and never lets hyper see a byte past the current
//! message. That serialises pipelining, makes a smuggled request impossible to reach the parser unnoticed, and means that
//! hyper holds nothing of the client's when an exchange is over: its connection can be thrown away, and what stays of an
//! idle connection is the TLS stream and this struct, whose buffer is empty then.

mod io_for_hyper;

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::{self, Framing, Head, HeadLimits};
use super::progress::RequestProgress;
use super::scan::Scan;
use crate::failure::Reason;
use crate::rewound::Rewound;

/// A client's byte stream, cut into messages.
#[derive(Debug)]
pub(crate) struct Framer<S> {
    stream: S,
    limits: HeadLimits,
    /// Bytes read and not yet handed on.
    buffer: BytesMut,
    scan: Scan,
    /// What of the current message hyper has not seen yet.
    left: Left,
    /// The client will send no more.
    ended: bool,
    progress: Rc<RequestProgress>,
}

#[derive(Clone, Copy, Debug)]
enum Left {
    Head(Head),
    Body(Framing),
    Nothing,
}

/// What came of waiting for the next head.
#[derive(Debug)]
pub(crate) enum Next {
    /// A complete head is at the front of the buffer.
    Head(Head),
    /// The client ended the connection between two messages.
    End,
    /// The client went away or broke the stream in the middle of a head.
    Gone,
    /// The head cannot be served.
    Refused(Reason),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framer<S> {
    pub(crate) fn new(stream: S, limits: HeadLimits) -> Self {
        Self {
            stream,
            limits,
            buffer: BytesMut::new(),
            scan: Scan::default(),
            left: Left::Nothing,
            ended: false,
            progress: Rc::default(),
        }
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The connection itself, with what has come of the protocol that follows.
    pub(crate) fn into_rewound(self) -> Rewound<S> {
        Rewound::new(self.buffer.freeze(), self.stream)
    }

    /// Whether part of a head is here: the client is not idle, but slow.
    pub(crate) fn has_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The bytes of a complete head, or whatever is here of one that was refused.
    pub(crate) fn head_bytes(&self, head: Option<&Head>) -> &[u8] {
        &self.buffer[..head.map_or(self.buffer.len(), |head| head.length)]
    }

    /// Lets hyper read this message, and reports to `progress` from now on.
    pub(crate) fn begin(&mut self, head: Head, progress: Rc<RequestProgress>) {
        self.left = Left::Head(head);
        self.progress = progress;
        self.scan = Scan::default();
    }

    /// Waits for the next head. Between messages this is where an idle connection lies.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.buffer.is_empty() {
            // An empty BytesMut still pins its allocation.
            self.buffer = BytesMut::new();
        }
        loop {
            match self.head() {
                Err(reason) => return Poll::Ready(Next::Refused(reason)),
                Ok(Some(head)) => return Poll::Ready(Next::Head(head)),
                Ok(None) => {}
            }
            match ready!(self.fill(cx)) {
                Ok(1..) => {}
                Ok(_) | Err(_) if self.has_partial() => return Poll::Ready(Next::Gone),
                Ok(_) | Err(_) => return Poll::Ready(Next::End),
            }
        }
    }

    fn head(&mut self) -> Result<Option<Head>, Reason> {
        while self.scan.may_skip_line() && self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
            self.scan.skip_line();
        }
        match self.scan.end(&self.buffer, self.limits)? {
            Some(end) => head::parse(&self.buffer[..end], self.limits).map(Some),
            None => Ok(None),
        }
    }

    /// Reads what the client has sent into the buffer. The bytes go over the stack, so that an idle connection owns no
    /// buffer while it waits.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let mut room = [const { MaybeUninit::<u8>::uninit() }; ROOM];
        let mut room = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        self.buffer.extend_from_slice(room.filled());
        self.ended = room.filled().is_empty();
        Poll::Ready(Ok(room.filled().len()))
    }

    /// Hands out what the buffer holds of the message.
    fn hand_out(&mut self, out: &mut ReadBufCursor<'_>, most: usize) -> usize {
        let count = most.min(self.buffer.len()).min(out.remaining());
        out.put_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        count
    }

    fn poll_head(&mut self, head: Head, out: &mut ReadBufCursor<'_>) {
        let count = self.hand_out(out, head.length);
        let length = head.length - count;
        self.left = match head.framing {
            _ if length > 0 => Left::Head(Head { length, ..head }),
            Framing::Length(0) => self.over(),
            framing => Left::Body(framing),
        };
    }

    fn poll_length(
        &mut self,
        left: u64,
        out: &mut ReadBufCursor<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let count = if self.buffer.is_empty() {
            ready!(self.read_through(most, out, cx))?
        } else {
            self.hand_out(out, most)
        };
        let left = left - count as u64;
        self.left = if left == 0 {
            self.over()
        } else {
            Left::Body(Framing::Length(left))
        };
        Poll::Ready(Ok(()))
    }

    /// Straight from TLS to hyper, for bodies.
    fn read_through(
        &mut self,
        most: usize,
        out: &mut ReadBufCursor<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut room = [const { MaybeUninit::<u8>::uninit() }; BODY_ROOM];
        let most = most.min(out.remaining()).min(BODY_ROOM);
        let mut room = ReadBuf::uninit(&mut room[..most]);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room));
        if read.is_err() || room.filled().is_empty() {
            return Poll::Ready(Err(self.broken(Reason::ClientGone)));
        }
        out.put_slice(room.filled());
        Poll::Ready(Ok(room.filled().len()))
    }

    fn poll_chunked(
        &mut self,
        mut chunks: super::chunks::Chunks,
        out: &mut ReadBufCursor<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            let filled = ready!(self.fill(cx));
            if !matches!(filled, Ok(1..)) {
                return Poll::Ready(Err(self.broken(Reason::ClientGone)));
            }
        }
        let most = self.buffer.len().min(out.remaining());
        let Ok(count) = chunks.advance(&self.buffer[..most]) else {
            return Poll::Ready(Err(self.broken(Reason::BadFraming)));
        };
        self.hand_out(out, count);
        self.left = if chunks.is_done() {
            self.over()
        } else {
            Left::Body(Framing::Chunked(chunks))
        };
        Poll::Ready(Ok(()))
    }

    /// The message is over. hyper reads on to notice a client that leaves: bytes of the next message are kept back,
    /// within bounds, and only a broken stream is told. A client that merely says it will send no more (close_notify)
    /// still wants its answer.
    fn poll_after(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.progress.end_if_answered() {
            return Poll::Ready(Ok(())); // No byte: the end.
        }
        while !self.ended && self.buffer.len() < MOST_AHEAD {
            if ready!(self.fill(cx)).is_err() {
                return Poll::Ready(Err(self.broken(Reason::ClientGone)));
            }
        }
        if self.ended {
            self.progress.half_closed();
        }
        Poll::Pending
    }

    fn over(&self) -> Left {
        self.progress.read_whole();
        Left::Nothing
    }

    fn broken(&self, reason: Reason) -> io::Error {
        self.progress.fail(reason);
        io::Error::new(io::ErrorKind::UnexpectedEof, reason.word())
    }
}

/// Stack room for heads; a common head fits with some to spare.
const ROOM: usize = 4 * 1024;
/// Stack room for bodies: one TLS record.
const BODY_ROOM: usize = 16 * 1024;
/// Bytes of later messages kept back at most while one is being served.
const MOST_AHEAD: usize = 64 * 1024;
