//! A connection to the application, as bytes.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::coop::unconstrained;

use crate::places::Place;

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Stream {
    io: Io,
    address: Option<SocketAddr>,
    /// Given back with the connection; one that is only tried needs none.
    _place: Option<Place>,
}

#[derive(Debug)]
enum Io {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn tcp(stream: TcpStream, address: SocketAddr) -> Self {
        Self {
            io: Io::Tcp(stream),
            address: Some(address),
            _place: None,
        }
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        Self {
            io: Io::Unix(stream),
            address: None,
            _place: None,
        }
    }

    /// Holds this place for as long as it is open.
    pub(super) fn at(self, place: Place) -> Self {
        Self {
            _place: Some(place),
            ..self
        }
    }

    /// The address that answered; none for a Unix socket.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether there is nothing to be read, not even its end. The context's waker is told when that changes.
    pub(super) fn is_quiet(&self, cx: &mut Context<'_>) -> bool {
        loop {
            let mut byte = [0];
            // No system call, where the runtime knows that there is nothing.
            let read = match &self.io {
                Io::Tcp(stream) => stream.try_read(&mut byte),
                Io::Unix(stream) => stream.try_read(&mut byte),
            };
            if !read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return false;
            }
            // A look at many in one go is no reason for the runtime to make this one wait, which would look like quiet.
            let news = unconstrained(poll_fn(|cx| match &self.io {
                Io::Tcp(stream) => stream.poll_read_ready(cx),
                Io::Unix(stream) => stream.poll_read_ready(cx),
            }));
            match pin!(news).poll(cx) {
                Poll::Pending => return true,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return false,
            }
        }
    }

    fn io(&mut self) -> Pin<&mut dyn Both> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream),
            Io::Unix(stream) => Pin::new(stream),
        }
    }
}

trait Both: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io().poll_read(cx, out)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}
