//! A client's connection after the handshake, as bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::byte_stream::{ByteStream, PIECE, pieces};
use crate::wire::Wire;

/// A connection over TLS. What is written is handed to rustls in [`pieces`]: it copies what it is about to encrypt behind the five
/// bytes that open a record.
#[derive(Debug)]
pub(crate) struct Stream(TlsStream<Wire>);

impl Stream {
    pub(super) fn new(stream: TlsStream<Wire>) -> Self {
        Self(stream)
    }

    pub(super) fn get_ref(&self) -> (&Wire, &ServerConnection) {
        self.0.get_ref()
    }
}

impl ByteStream for Stream {
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let mut stream = Pin::new(&mut self.0);
        let record = ready!(stream.as_mut().poll_fill_buf(cx))?;
        let count = record.len().min(most);
        take(&record[..count]);
        stream.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl AsyncWrite for Stream {
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
        if parts.iter().all(|part| part.len() <= PIECE) {
            return Pin::new(&mut self.0).poll_write_vectored(cx, parts);
        }
        let mut list = [IoSlice::new(&[]); MOST];
        let mut count = 0;
        for (piece, slot) in parts.iter().flat_map(|part| pieces(part)).zip(&mut list) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        Pin::new(&mut self.0).poll_write_vectored(cx, &list[..count])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Pieces of one write: more than TLS holds at a time.
const MOST: usize = 24;
