//! The thin layer between TLS and hyper.
//!
//! It reads each request head strictly, frames the body behind it, and never lets hyper see a byte past the current
//! message. That serialises pipelining, makes a smuggled request impossible to reach the parser unnoticed, and means that
//! hyper holds nothing of the client's when an exchange is over: its connection can be thrown away, and what stays of an
//! idle connection is the TLS stream and this struct, whose buffer is empty then.

mod io_for_hyper;
mod respell;

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::rt::ReadBufCursor;

use super::head::{self, Framing, Head, HeadLimits};
use super::progress::RequestProgress;
use super::scan::Scan;
use crate::byte_stream::{ByteStream, RECORD, append, pieces};
use crate::failure::Reason;
use crate::rewound::Rewound;
use respell::Respelt;

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
    /// The stream has broken in the middle of a body.
    is_broken: bool,
    /// None between two messages: an idle connection keeps nothing of the last one.
    progress: Option<Rc<RequestProgress>>,
    /// What hyper writes first, where its names are to be spelt otherwise.
    respelt: Option<Box<Respelt>>,
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

impl<S: ByteStream> Framer<S> {
    pub(crate) fn new(stream: S, limits: HeadLimits) -> Self {
        Self {
            stream,
            limits,
            buffer: BytesMut::new(),
            scan: Scan::default(),
            left: Left::Nothing,
            ended: false,
            is_broken: false,
            progress: None,
            respelt: None,
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
        self.progress = Some(progress);
        self.scan = Scan::default();
    }

    /// The exchange is over.
    pub(crate) fn end(&mut self) {
        self.progress = None;
        self.respelt = None;
    }

    /// Tells the exchange in progress.
    fn tell(&self, what: impl FnOnce(&RequestProgress)) {
        if let Some(progress) = &self.progress {
            what(progress);
        }
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
            match ready!(self.fill(ROOM, cx)) {
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

    /// Reads what the client has sent into the buffer, `most` bytes at most. An idle connection owns no buffer while it waits.
    fn fill(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let Self { stream, buffer, .. } = self;
        let count = ready!(stream.poll_bytes(cx, most, &mut |bytes| {
            append(buffer, bytes);
        }))?;
        self.ended = count == 0;
        Poll::Ready(Ok(count))
    }

    /// Hands out what the buffer holds of the message.
    fn hand_out(&mut self, out: &mut ReadBufCursor<'_>, most: usize) -> usize {
        let count = most.min(self.buffer.len()).min(out.remaining());
        pieces(&self.buffer[..count]).for_each(|piece| out.put_slice(piece));
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

    /// Straight from TLS to hyper, for bodies: as many records as are here and fit.
    fn read_through(
        &mut self,
        most: usize,
        out: &mut ReadBufCursor<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.is_broken {
            return Poll::Ready(Err(self.broken(Reason::ClientGone)));
        }
        let mut read = 0;
        while read == 0 || (read < most && out.remaining() >= RECORD) {
            let room = (most - read).min(out.remaining());
            let polled = self.stream.poll_bytes(cx, room, &mut |bytes| {
                pieces(bytes).for_each(|piece| out.put_slice(piece));
            });
            match polled {
                Poll::Ready(Ok(count @ 1..)) => read += count,
                // What came before is handed on. TLS tells some errors once.
                polled if read > 0 => {
                    self.is_broken = polled.is_ready();
                    break;
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(_) => return Poll::Ready(Err(self.broken(Reason::ClientGone))),
            }
        }
        Poll::Ready(Ok(read))
    }

    fn poll_chunked(
        &mut self,
        mut chunks: super::chunks::Chunks,
        out: &mut ReadBufCursor<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            let filled = ready!(self.fill(RECORD, cx));
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
        let progress = self.progress.as_deref();
        if progress.is_some_and(RequestProgress::end_if_answered) {
            return Poll::Ready(Ok(())); // No byte: the end.
        }
        while !self.ended && self.buffer.len() < MOST_AHEAD {
            if ready!(self.fill(ROOM, cx)).is_err() {
                return Poll::Ready(Err(self.broken(Reason::ClientGone)));
            }
        }
        if self.ended {
            self.tell(RequestProgress::half_closed);
        }
        Poll::Pending
    }

    fn over(&self) -> Left {
        self.tell(RequestProgress::read_whole);
        Left::Nothing
    }

    fn broken(&self, reason: Reason) -> io::Error {
        self.tell(|progress| progress.fail(reason));
        io::Error::new(io::ErrorKind::UnexpectedEof, reason.word())
    }
}

/// Bytes read at once of what is looked at here: a common head fits with some to spare.
const ROOM: usize = 4 * 1024;
/// Bytes of later messages kept back at most while one is being served.
const MOST_AHEAD: usize = 64 * 1024;
