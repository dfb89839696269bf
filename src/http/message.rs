//! A message of HTTP/1 on its way out: its head and what has come of its body go in one write, and no more of the body is taken
//! than a few writes are worth.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame};

use super::fields::last_chunk;

/// How the body behind a head is framed.
#[derive(Clone, Debug)]
pub(crate) enum Framed {
    /// Nothing more to write.
    Nothing,
    /// So many bytes more.
    Length(u64),
    /// In chunks, and behind them those trailers that the head has announced.
    Chunked(Vec<HeaderName>),
    /// As long as the connection is.
    UntilClose,
}

/// What of a message is still to be written.
pub(crate) struct Message<B> {
    /// Empty when it is written.
    head: Bytes,
    pieces: VecDeque<Bytes>,
    /// Bytes in the pieces.
    queued: usize,
    /// Bytes of body that are worth a write of their own.
    enough: usize,
    /// None when the end of it is in the pieces.
    body: Option<B>,
    framed: Framed,
    /// It is whole with its last byte, without its body having said so.
    ends_by_length: bool,
    keeps_case: bool,
}

/// The message's own body broke off, is not wanted any more, or is not as long as was said.
#[derive(Debug)]
pub(crate) struct Unsendable;

impl<B: Body<Data = Bytes> + Unpin> Message<B> {
    /// This head, and behind it this body, of which `enough` bytes are taken before they are written.
    pub(crate) fn new(
        head: Bytes,
        framed: Framed,
        body: B,
        enough: usize,
        keeps_case: bool,
    ) -> Self {
        Self {
            head,
            pieces: VecDeque::new(),
            queued: 0,
            enough,
            body: (!matches!(framed, Framed::Nothing)).then_some(body),
            framed,
            ends_by_length: false,
            keeps_case,
        }
    }

    /// Whoever reads this has it whole with its last byte, and nobody waits for what its body says behind that.
    pub(crate) fn ending_by_length(self) -> Self {
        Self {
            ends_by_length: true,
            ..self
        }
    }

    /// Whether all of it was written.
    pub(crate) fn is_written(&self) -> bool {
        self.body.is_none() && !self.has_bytes()
    }

    /// Whether there is something to write.
    pub(crate) fn has_bytes(&self) -> bool {
        !self.head.is_empty() || !self.pieces.is_empty()
    }

    /// Takes from the body what is there, and no more than a write is worth. Pending when it is the body that is waited for.
    pub(crate) fn poll_gather(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Unsendable> {
        while self.queued < self.enough && self.pieces.len() < MOST_PIECES {
            let Some(body) = &mut self.body else { break };
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Some(Ok(frame))) => self.take(frame)?,
                Poll::Ready(Some(Err(_))) => return Err(Unsendable),
                Poll::Ready(None) => self.end(None)?,
            }
        }
        Ok(Poll::Ready(()))
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), Unsendable> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok()),
        };
        match &mut self.framed {
            Framed::Nothing => return Err(Unsendable),
            Framed::Length(left) => {
                // Whoever says how much there is was held to that already.
                *left = left.checked_sub(data.len() as u64).ok_or(Unsendable)?;
                self.push(data);
            }
            Framed::Chunked(_) if data.is_empty() => {}
            Framed::Chunked(_) => {
                self.push(format!("{:X}\r\n", data.len()).into());
                self.push(data);
                self.push(Bytes::from_static(b"\r\n"));
            }
            Framed::UntilClose => self.push(data),
        }
        // What comes behind the last piece need not be waited for, and goes in one write with it.
        let has_all = self.ends_by_length && matches!(self.framed, Framed::Length(0));
        if has_all || self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.end(None)?;
        }
        Ok(())
    }

    /// The body is over, and is let go.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Unsendable> {
        match &self.framed {
            Framed::Nothing | Framed::Length(0) | Framed::UntilClose => {}
            Framed::Length(_) => return Err(Unsendable),
            Framed::Chunked(announced) => {
                let trailers = trailers.unwrap_or_default();
                self.push(last_chunk(&trailers, announced, self.keeps_case));
            }
        }
        self.body = None;
        Ok(())
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.queued += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Writes once of what there is.
    pub(crate) fn poll_write(
        &mut self,
        write: impl FnOnce(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        let mut parts = [IoSlice::new(&[]); MOST_PIECES + A_CHUNK];
        parts[0] = IoSlice::new(&self.head);
        let mut count = usize::from(!self.head.is_empty());
        for (part, piece) in parts[count..].iter_mut().zip(&self.pieces) {
            *part = IoSlice::new(piece);
            count += 1;
        }
        let written = ready!(write(&parts[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(ErrorKind::WriteZero.into()));
        }
        self.written(written);
        Poll::Ready(Ok(()))
    }

    fn written(&mut self, mut count: usize) {
        let of_head = count.min(self.head.len());
        self.head.advance(of_head);
        count -= of_head;
        self.queued -= count;
        while let Some(piece) = self.pieces.front_mut().filter(|_| count > 0) {
            let of_piece = count.min(piece.len());
            piece.advance(of_piece);
            count -= of_piece;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

/// Pieces of a write, before the last chunk that is put in, which has three.
const MOST_PIECES: usize = 32;
/// What a chunk, the end of the body and the head may add to that.
const A_CHUNK: usize = 5;
