//! The framer as hyper sees it: the I/O of a connection with one message on it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::respell::Respelt;
use super::{Framer, Left};
use crate::byte_stream::ByteStream;
use crate::http::head::Framing;
use crate::http::progress::RequestProgress;
use hyper::rt::ReadBufCursor;

impl<S: ByteStream> hyper::rt::Read for Framer<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.left {
            Left::Head(head) => {
                self.poll_head(head, &mut out);
                Poll::Ready(Ok(()))
            }
            Left::Body(Framing::Length(left)) => self.poll_length(left, &mut out, cx),
            Left::Body(Framing::Chunked(chunks)) => self.poll_chunked(chunks, &mut out, cx),
            Left::Nothing => self.poll_after(cx),
        }
    }
}

impl<S: ByteStream> hyper::rt::Write for Framer<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.tell(RequestProgress::unflushed);
        let spelling = self.progress.as_ref().and_then(|it| it.take_spelling());
        if let (Some(spelling), Some(head)) = (spelling, parts.first()) {
            self.respelt = Some(Box::new(Respelt::new(head, &spelling)));
        }
        let Self {
            stream, respelt, ..
        } = &mut *self;
        let Some(head) = respelt else {
            return Pin::new(stream).poll_write_vectored(cx, parts);
        };
        let count = ready!(head.with(parts, |parts| {
            Pin::new(stream).poll_write_vectored(cx, parts)
        }))?;
        if head.written(count) {
            *respelt = None;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.tell(RequestProgress::flushed);
        Poll::Ready(Ok(()))
    }

    /// hyper has written everything and wants to close. Closing is the driver's business: it knows whether the end is
    /// an orderly one.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
