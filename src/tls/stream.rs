//! A client's connection, as the bytes that TLS carries.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::{CommonState, InvalidMessage, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::hello::Hello;
use super::scratch::{READ, Scratch};
use super::session::Session;
use crate::byte_stream::{ByteStream, RECORD, append};
use crate::wire::Wire;

/// A connection over TLS.
#[derive(Debug)]
pub(crate) struct Stream {
    wire: Wire,
    session: Session,
    scratch: Rc<Scratch>,
    /// Nothing more is to be read: the client has gone, or it sends what nobody can read.
    is_broken: bool,
    /// The client was told that nothing more is sent.
    is_closed: bool,
    /// What is sealed was written by somebody who waits until it can leave.
    is_writing: bool,
}

impl Stream {
    /// Before the handshake.
    pub(super) fn new(
        wire: Wire,
        config: Arc<ServerConfig>,
        scratch: Rc<Scratch>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            wire,
            session: Session::new(config)?,
            scratch,
            is_broken: false,
            is_closed: false,
            is_writing: false,
        })
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    pub(super) fn into_wire(self) -> Wire {
        self.wire
    }

    /// What the handshake agreed on.
    pub(super) fn state(&self) -> &CommonState {
        self.session.state()
    }

    /// Shakes hands. What the client has said for a beginning is shown to `hello`.
    pub(super) async fn shake(&mut self, hello: &Hello) -> io::Result<()> {
        poll_fn(|cx| {
            loop {
                ready!(self.poll_send(cx))?;
                if hello.is_missed() {
                    // The certificate would go by its name, and everything else by none.
                    let too_long = InvalidMessage::HandshakePayloadTooLarge;
                    return Poll::Ready(Err(unreadable(too_long.into())));
                }
                if !self.session.state().is_handshaking() {
                    return Poll::Ready(Ok(()));
                }
                let has_more = !self.session.has_ended() && {
                    let come = &mut |come: &[u8]| hello.heard(come);
                    ready!(self.poll_open(cx, RECORD, 0, come, &mut |_| {}))?.is_some()
                };
                if !has_more {
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
                    return Poll::Ready(Err(error));
                }
            }
        })
        .await
    }

    /// Reads once and opens what is whole: how many bytes `take` was shown, or none at the end.
    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        most: usize,
        come: &mut dyn FnMut(&[u8]),
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<Option<usize>>> {
        let scratch = Rc::clone(&self.scratch);
        let mut scratch = scratch.come();
        let begun = self.session.begun().len();
        let bytes = &mut scratch.of(begun + room)[..begun + room];
        let mut rest = ReadBuf::new(&mut bytes[begun..]);
        ready!(Pin::new(&mut self.wire).poll_read(cx, &mut rest))?;
        let count = rest.filled().len();
        if count == 0 {
            return Poll::Ready(Ok(None));
        }
        come(rest.filled());
        let bytes = &mut bytes[..begun + count];
        bytes[..begun].copy_from_slice(self.session.begun());
        let (taken, opened) = self.session.open(bytes, most, take);
        // Who has written is woken when that can leave, and nobody else may be in his place.
        if !self.is_writing && (opened.is_err() || !self.session.sealed().is_empty()) {
            // What it does not take now goes with what is sent next, and an alert with nothing.
            let _ = self.poll_send(cx);
        }
        match opened {
            // It is told when it is asked again.
            Err(_) if taken > 0 => self.is_broken = true,
            Err(error) => return Poll::Ready(Err(unreadable(error))),
            Ok(()) => {}
        }
        Poll::Ready(Ok(Some(taken)))
    }

    /// Writes all that is sealed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.session.sealed().is_empty() {
            let sealed = self.session.sealed();
            let count = ready!(Pin::new(&mut self.wire).poll_write(cx, sealed))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            consume(sealed, count);
        }
        self.is_writing = false;
        Poll::Ready(Ok(()))
    }
}

impl ByteStream for Stream {
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let kept = self.session.opened();
        if !kept.is_empty() {
            let count = kept.len().min(most);
            take(&kept[..count]);
            consume(kept, count);
            return Poll::Ready(Ok(count));
        }
        // With what records have around what they carry.
        let room = (most + most / 256 + 64).min(READ);
        // No room is no end.
        while most > 0 && !self.session.has_ended() {
            if self.is_broken {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            match ready!(self.poll_open(cx, room, most, &mut |_| {}, take)) {
                Ok(Some(0)) => {}
                Ok(Some(count)) => return Poll::Ready(Ok(count)),
                Ok(None) => self.is_broken = true,
                Err(error) => {
                    self.is_broken = true;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.poll_bytes(cx, out.remaining(), &mut |bytes| out.put_slice(bytes));
        read.map_ok(|_| ())
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
        ready!(self.poll_send(cx))?;
        let scratch = Rc::clone(&self.scratch);
        let (mut plain, mut room) = scratch.to_seal();
        let (taken, length) = self.session.seal(parts, plain.of(0), room.of(0))?;
        let mut sealed = &room.of(0)[..length];
        if self.session.sealed().is_empty()
            && let Poll::Ready(written) = Pin::new(&mut self.wire).poll_write(cx, sealed)
        {
            sealed = &sealed[written?..];
        }
        append(self.session.sealed(), sealed);
        self.is_writing = !self.session.sealed().is_empty();
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closed {
            self.is_closed = true;
            self.session.seal_end()?;
            self.is_writing = true;
        }
        ready!(self.poll_send(cx))?;
        match ready!(Pin::new(&mut self.wire).poll_shutdown(cx)) {
            // The client was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            closed => Poll::Ready(closed),
        }
    }
}

/// Takes bytes from the front. Empty, a buffer would keep its allocation.
fn consume(buffer: &mut BytesMut, count: usize) {
    buffer.advance(count);
    if buffer.is_empty() {
        *buffer = BytesMut::new();
    }
}

fn unreadable(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
