//! The thin layer between TLS and an exchange.
//!
//! It reads each request head strictly, frames the body behind it, and never hands on a byte past the current message. That
//! serialises pipelining, and makes a smuggled request impossible. When an exchange is over, what stays of an idle
//! connection is the TLS stream and this struct, whose buffer is empty then.

mod body;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};

use super::head::{self, Head, HeadLimits};
use super::progress::RequestProgress;
use super::scan::Scan;
use crate::byte_stream::{ByteStream, append};
use crate::failure::Reason;
use crate::rewound::Rewound;
use body::Reading;
pub(crate) use body::Reads;

/// A client's byte stream, cut into messages.
#[derive(Debug)]
pub(crate) struct Framer<S> {
    stream: S,
    /// Bytes read ahead of the next message.
    buffer: BytesMut,
    scan: Scan,
    /// What of the current message's body was not handed on yet.
    body: Option<Box<Reading>>,
    /// The client will send no more.
    ended: bool,
    /// None between two messages: an idle connection keeps nothing of the last one.
    progress: Option<Rc<RequestProgress>>,
}

/// What came of waiting for the next head.
#[derive(Debug)]
pub(crate) enum Next {
    /// A complete head.
    Head(Box<Head>),
    /// The client ended the connection between two messages.
    End,
    /// The client went away or broke the stream in the middle of a head.
    Gone,
    /// The head cannot be served.
    Refused(Reason),
}

/// The client's connection has broken.
#[derive(Debug)]
pub(super) struct ClientGone;

impl<S: ByteStream> Framer<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            scan: Scan::default(),
            body: None,
            ended: false,
            progress: None,
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

    /// Whatever is here of a head that was refused, or that its client has not finished.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.buffer
    }

    /// The exchange of this message has begun: its body may be read, and `progress` is told of it.
    pub(crate) fn begin(&mut self, framing: head::Framing, progress: Rc<RequestProgress>) {
        self.body = Reading::new(framing, &mut self.buffer);
        if self.body.is_none() {
            progress.read_whole();
        }
        self.progress = Some(progress);
    }

    /// The exchange is over.
    pub(crate) fn end(&mut self) {
        self.progress = None;
    }

    /// Tells the exchange in progress.
    fn tell(&self, what: impl FnOnce(&RequestProgress)) {
        if let Some(progress) = &self.progress {
            what(progress);
        }
    }

    /// Waits for the next head. Between messages this is where an idle connection lies.
    pub(crate) fn poll_next(&mut self, limits: HeadLimits, cx: &mut Context<'_>) -> Poll<Next> {
        if self.buffer.is_empty() {
            // An empty BytesMut still pins its allocation.
            self.buffer = BytesMut::new();
        }
        loop {
            match self.head(limits) {
                Err(reason) => return Poll::Ready(Next::Refused(reason)),
                Ok(Some(head)) => return Poll::Ready(Next::Head(Box::new(head))),
                Ok(None) => {}
            }
            match ready!(self.fill(ROOM, cx)) {
                Ok(1..) => {}
                Ok(_) | Err(_) if self.has_partial() => return Poll::Ready(Next::Gone),
                Ok(_) | Err(_) => return Poll::Ready(Next::End),
            }
        }
    }

    fn head(&mut self, limits: HeadLimits) -> Result<Option<Head>, Reason> {
        while self.scan.may_skip_line() && self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
            self.scan.skip_line();
        }
        let Some(end) = self.scan.end(&self.buffer, limits)? else {
            return Ok(None);
        };
        // Copied, so that what is kept of it does not keep what follows.
        let bytes = Bytes::copy_from_slice(&self.buffer[..end]);
        let head = head::parse(&bytes, limits)?;
        self.buffer.advance(end);
        self.scan = Scan::default();
        Ok(Some(head))
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

    /// While the message is served: reads on behind it, to notice a client that leaves. Bytes of the next message are kept back,
    /// within bounds. A client that merely says it will send no more (close_notify) still wants its answer.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<ClientGone> {
        if self.body.as_ref().is_some_and(|body| !body.has_come()) {
            // Who reads the body learns it.
            return Poll::Pending;
        }
        while !self.ended && self.buffer.len() < MOST_AHEAD {
            if ready!(self.fill(ROOM, cx)).is_err() {
                self.tell(|progress| progress.fail(Reason::ClientGone));
                return Poll::Ready(ClientGone);
            }
        }
        if self.ended {
            self.tell(RequestProgress::half_closed);
        }
        Poll::Pending
    }

    pub(super) fn poll_write(
        &mut self,
        parts: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

/// Bytes read at once of what is looked at here: a common head fits with some to spare.
const ROOM: usize = 4 * 1024;
/// Bytes of later messages kept back at most while one is being served.
const MOST_AHEAD: usize = 64 * 1024;
