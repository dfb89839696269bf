//! A stream on which the other side may say so much and no more until somebody renews that. Interim answers, and chunks of one byte,
//! have no end of their own, and who reads them does nothing else meanwhile.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that may still be read.
#[derive(Clone, Debug)]
pub(super) struct Ration(Arc<AtomicUsize>);

/// A stream with a ration.
#[derive(Debug)]
pub(super) struct Rationed<S> {
    stream: S,
    ration: Ration,
}

impl Ration {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(RATION)))
    }

    /// From now on it is whole again.
    pub(super) fn renew(&self) {
        self.0.store(RATION, Ordering::Relaxed);
    }
}

impl<S> Rationed<S> {
    pub(super) fn new(stream: S, ration: Ration) -> Self {
        Self { stream, ration }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rationed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let count = buf.filled().len() - before;
        // Both ends of it are used by one thread.
        let left = self.ration.0.load(Ordering::Relaxed);
        let Some(left) = left.checked_sub(count) else {
            return Poll::Ready(Err(io::Error::other("the answer has no end")));
        };
        self.ration.0.store(left, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rationed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A head and a body, as long as they are read, and what frames them.
const RATION: usize = 256 * 1024;
