//! A connection to the application, as bytes.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::places::Place;

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Stream {
    io: Io,
    address: Option<SocketAddr>,
    /// The application takes no more bytes.
    is_deaf: bool,
    /// What is read answers what was written, so a write that fails is not the end.
    is_patient: bool,
    /// Nothing more is to be read.
    has_ended: bool,
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
            is_deaf: false,
            is_patient: true,
            has_ended: false,
            _place: None,
        }
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        Self {
            io: Io::Unix(stream),
            address: None,
            is_deaf: false,
            is_patient: true,
            has_ended: false,
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

    /// For protocols in which both directions are independent: a write that fails is a failure.
    pub(super) fn impatient(self) -> Self {
        Self {
            is_patient: false,
            ..self
        }
    }

    fn write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut dyn Both>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.is_deaf && self.has_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.is_deaf {
            return Poll::Pending;
        }
        match ready!(write(self.io(), cx)) {
            Ok(count) => Poll::Ready(Ok(count)),
            Err(error) if self.is_patient && is_refusal(&error) => {
                self.is_deaf = true;
                // The error has been taken off the socket; whoever reads must look again.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
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
        let before = out.filled().len();
        let read = ready!(self.io().poll_read(cx, out));
        self.has_ended |= read.is_err() || out.filled().len() == before;
        Poll::Ready(read)
    }
}

/// An application that has answered early (413) and closed resets what it is sent after that. The answer is still there to
/// be read, so a write that fails only waits: the end of the connection, or its failure, is what the reading side will see.
impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |io, cx| io.poll_write_vectored(cx, parts))
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

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
