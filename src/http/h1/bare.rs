//! A connection as bytes, when nothing of its messages matters any more.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::byte_stream::ByteStream;
use crate::http::framer::Framer;

/// The stream below a framer.
pub(super) struct Bare<S>(pub(super) Rc<RefCell<Framer<S>>>);

impl<S: ByteStream> Bare<S> {
    fn with<T>(&self, what: impl FnOnce(Pin<&mut S>) -> T) -> T {
        what(Pin::new(self.0.borrow_mut().stream()))
    }
}

impl<S: ByteStream> AsyncRead for Bare<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, out))
    }
}

impl<S: ByteStream> AsyncWrite for Bare<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}
