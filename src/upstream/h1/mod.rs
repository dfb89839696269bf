//! HTTP/1 to the application, driven by the exchange that asks: no task of its own, and no buffer while it is unused.
//!
//! `request` writes a head, `outgoing` sends it and the body behind it, `response` reads the head of the answer, `body` what
//! follows it. `asking` is what goes on until there is an answer.

mod asking;
mod body;
mod outgoing;
mod request;
mod response;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::stream::Stream;

pub(crate) use asking::{Asking, Failure, Heard};
pub(crate) use body::Incoming;
pub(crate) use outgoing::Rest;
use outgoing::Sent;

/// A connection to the application. Whoever answers early is still written to while its answer is read.
pub(crate) struct Connection {
    stream: RefCell<Stream>,
    /// The rest of a request whose answer came early is still being written.
    is_sending: Cell<bool>,
    /// Nothing that comes is worth reading: the rest of a request broke off, or nobody has asked for it.
    is_broken: Cell<bool>,
    /// The application has not taken all of the last request.
    is_spent: Cell<bool>,
    /// Who reads meanwhile.
    reader: RefCell<Option<Waker>>,
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Rc<Self> {
        Rc::new(Self {
            stream: RefCell::new(stream),
            is_sending: Cell::default(),
            is_broken: Cell::default(),
            is_spent: Cell::default(),
            reader: RefCell::default(),
        })
    }

    /// Whether nothing is on its way in either direction, and the application has neither closed it nor said something unasked.
    /// The waker is told when it does.
    pub(super) fn is_unused(&self, cx: &mut Context<'_>) -> bool {
        if self.is_sending.get() || self.is_broken.get() || self.is_spent.get() {
            return false;
        }
        // What was said unasked is read by this look, and would be missed by the next.
        let is_quiet = self.stream.borrow().is_quiet(cx);
        self.is_broken.set(!is_quiet);
        is_quiet
    }

    /// Whether the rest of an earlier request is still being written.
    pub(super) fn is_sending(&self) -> bool {
        self.is_sending.get()
    }

    /// Reads what is there, as far as there is room.
    fn poll_read(&self, room: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.is_broken.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.is_sending.get() {
            self.reader.replace(Some(cx.waker().clone()));
        }
        let mut stream = self.stream.borrow_mut();
        pin!(stream.read_buf(room)).poll(cx)
    }

    fn poll_write(&self, parts: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        match parts {
            // Which is a cheaper call than the one for many.
            [part] => Pin::new(&mut *stream).poll_write(cx, part),
            parts => Pin::new(&mut *stream).poll_write_vectored(cx, parts),
        }
    }

    /// From here on the rest of a request is written by somebody else than who reads the answer.
    fn sends(&self) {
        self.is_sending.set(true);
    }

    /// That is over.
    fn has_sent(&self, sent: Sent) {
        self.is_sending.set(false);
        self.is_broken.set(sent == Sent::InPart);
        self.is_spent.set(sent != Sent::Whole);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// The connection as bytes, for another protocol.
    pub(super) fn into_stream(self) -> Stream {
        self.stream.into_inner()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
