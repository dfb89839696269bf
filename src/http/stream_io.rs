//! One HTTP/2 stream as bytes both ways, for what is tunnelled through it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tunnel::Duplex;
use crate::upstream::Share;

/// One HTTP/2 stream as bytes.
pub(crate) struct StreamIo {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// Received and not yet read.
    held: Bytes,
    /// The right to the stream, where it is one to the application.
    share: Option<Share>,
}

impl StreamIo {
    pub(crate) fn new(send: SendStream<Bytes>, receive: RecvStream) -> Self {
        Self {
            send,
            receive,
            held: Bytes::new(),
            share: None,
        }
    }

    /// Keeps the share for as long as the stream.
    pub(crate) fn held_by(mut self, share: Share) -> Self {
        self.share = Some(share);
        self
    }
}

impl Duplex for StreamIo {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.send.poll_reset(cx).map(drop)
    }
}

impl AsyncRead for StreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.held.is_empty() {
            match ready!(self.receive.poll_data(cx)) {
                Some(data) => self.held = data.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.held.len().min(out.remaining());
        out.put_slice(&self.held.split_to(count));
        // The window opens as bytes are read. It fails only for a stream that has ended meanwhile.
        let _ = self.receive.flow_control().release_capacity(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(bytes.len());
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(granted) => granted.map_err(io::Error::other)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
        let count = self.send.capacity().min(bytes.len());
        let data = Bytes::copy_from_slice(&bytes[..count]);
        self.send.send_data(data, false).map_err(io::Error::other)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(
            self.send
                .send_data(Bytes::new(), true)
                .map_err(io::Error::other),
        )
    }
}
