//! A client's socket, and what is known of it below TLS: how many bytes it has taken, whether it takes any now, and whether it
//! is broken although nobody reads or writes.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A client's connection as bytes. It owns the socket, which closes with it.
#[derive(Debug)]
pub(crate) struct Wire(Rc<Socket>);

#[derive(Debug)]
struct Socket {
    stream: RefCell<TcpStream>,
    /// Bytes that the kernel has taken for the client.
    taken: Cell<u64>,
    /// Bytes that have come from the client.
    come: Cell<u64>,
    /// The last write found no room.
    is_blocked: Cell<bool>,
}

/// What others may know of a wire, for as long as there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Weak<Socket>);

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(Rc::new(Socket {
            stream: RefCell::new(stream),
            taken: Cell::default(),
            come: Cell::default(),
            is_blocked: Cell::default(),
        }))
    }

    /// Prepares a socket, or a listener whose connections inherit it:
    /// - what is written leaves at once, instead of the last part of a message waiting for an ACK;
    /// - the kernel takes no more than it is about to send, so that what it takes is what the other side reads: with a buffer of
    ///   megabytes it would take nothing for minutes from somebody who reads steadily, and slowly;
    /// - it asks after the other side when it is silent: a tunnel, or an event stream that says nothing, would never notice that it
    ///   has vanished. Gone after 90 s without an answer.
    pub(crate) fn prepare<'s>(socket: impl Into<SockRef<'s>>) {
        let socket = socket.into();
        let keepalive = TcpKeepalive::new()
            .with_time(SILENT)
            .with_interval(AGAIN)
            .with_retries(OFTEN);
        // They fail only on a socket that is dead already. Linux has had the second since 3.12; without it limits are only less exact.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_notsent_lowat(UNSENT);
        let _ = socket.set_tcp_keepalive(&keepalive);
    }

    /// Whether a connection has inherited that.
    pub(crate) fn is_prepared(stream: &TcpStream) -> bool {
        let socket = SockRef::from(stream);
        let is_on = |option: io::Result<bool>| option.is_ok_and(|is_on| is_on);
        is_on(socket.tcp_nodelay())
            && is_on(socket.keepalive())
            && socket
                .tcp_notsent_lowat()
                .is_ok_and(|bytes| bytes == UNSENT)
    }

    pub(crate) fn gauge(&self) -> Gauge {
        Gauge(Rc::downgrade(&self.0))
    }

    /// The first bytes that come, at least one of them and as many as fit, which stay to be read; none at the end.
    pub(crate) async fn first_bytes<'a>(&self, first: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let mut room = ReadBuf::new(first);
        let count = poll_fn(|cx| self.0.stream.borrow().poll_peek(cx, &mut room)).await?;
        Ok(&first[..count])
    }

    /// Notes how a write went.
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.0.is_blocked.set(written.is_pending());
        if let Poll::Ready(Ok(count)) = &written {
            self.0.taken.set(self.0.taken.get() + *count as u64);
        }
        written
    }
}

impl Gauge {
    /// Bytes that the kernel has taken for the client.
    pub(crate) fn taken(&self) -> u64 {
        self.0.upgrade().map_or(0, |socket| socket.taken.get())
    }

    /// Bytes that have come from the client.
    pub(crate) fn come(&self) -> u64 {
        self.0.upgrade().map_or(0, |socket| socket.come.get())
    }

    /// Whether bytes wait for the client to take those before them.
    pub(crate) fn is_blocked(&self) -> bool {
        self.0
            .upgrade()
            .is_some_and(|socket| socket.is_blocked.get())
    }

    /// It is to be reset when it closes. Who does not read would keep the kernel busy with the rest for minutes.
    pub(crate) fn reset_on_close(&self) {
        if let Some(socket) = self.0.upgrade() {
            // It fails only on a socket that is dead already.
            let _ = SockRef::from(&*socket.stream.borrow()).set_linger(Some(Duration::ZERO));
        }
    }

    /// Whether the connection is broken. Who reads or writes learns that by himself; this is for when nobody does.
    pub(crate) fn is_broken(&self) -> bool {
        self.0
            .upgrade()
            .is_none_or(|socket| !matches!(socket.stream.borrow().take_error(), Ok(None)))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let read = Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(cx, out);
        let count = out.filled().len() - before;
        self.0.come.set(self.0.come.get() + count as u64);
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write_vectored(cx, bytes);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.stream.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }
}

/// Bytes that the kernel holds and has not sent yet: half of them have gone before more are taken, which at the slowest that
/// `--min-rate` allows by default is less than what it is an average over.
const UNSENT: u32 = 12 * 1024;
/// Before the kernel asks after a side that is silent, between two questions, and how many it asks.
const SILENT: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(10);
const OFTEN: u32 = 3;
