//! A request on its way to the application: its head and what has come of its body go in one write, and no more of the body is
//! taken from the client than a few writes are worth.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, request};
use http_body::{Body, Frame};

use super::Connection;
use super::request::{Framing, end, write};
use crate::http::RequestBody;

/// What of a request is still to be written.
pub(crate) struct Outgoing {
    /// Empty when it is written.
    head: Bytes,
    pieces: VecDeque<Bytes>,
    /// Bytes in the pieces.
    queued: usize,
    /// None when the end of it is in the pieces.
    body: Option<RequestBody>,
    framing: Framing,
    keeps_case: bool,
    /// The application takes no more bytes. What it said before it closed is still there to be read.
    is_deaf: bool,
}

/// How much of a request was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Whole,
    InPart,
    /// As much as the application has taken: it closes when it has said what it has to say.
    Unheard,
}

/// The request's own body broke off, or is not wanted any more.
#[derive(Debug)]
pub(super) struct Unsendable;

impl Outgoing {
    /// This head, and behind it this body.
    pub(super) fn new(head: &request::Parts, body: RequestBody, keeps_case: bool) -> Self {
        let (head, framing) = write(head, &body, keeps_case);
        Self {
            head,
            pieces: VecDeque::new(),
            queued: 0,
            body: (!matches!(framing, Framing::Nothing)).then_some(body),
            framing,
            keeps_case,
            is_deaf: false,
        }
    }

    /// Whether there is nothing left that could be written.
    pub(super) fn is_over(&self) -> bool {
        self.sent() != Sent::InPart
    }

    /// How it stands.
    pub(super) fn sent(&self) -> Sent {
        if self.is_deaf {
            Sent::Unheard
        } else if self.head.is_empty() && self.pieces.is_empty() && self.body.is_none() {
            Sent::Whole
        } else {
            Sent::InPart
        }
    }

    /// Writes on, until all is written or the application takes no more.
    pub(super) fn poll(
        &mut self,
        connection: &Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsendable>> {
        while !self.is_over() {
            let gathered = self.poll_gather(cx)?;
            if self.head.is_empty() && self.pieces.is_empty() {
                ready!(gathered);
                continue;
            }
            match ready!(self.poll_write(connection, cx)) {
                Ok(written) => self.written(written),
                Err(_) => self.is_deaf = true,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes from the body what is there, and no more than a write is worth. Pending when it is the body that is waited for.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Unsendable> {
        while self.queued < ENOUGH && self.pieces.len() < MOST_PIECES {
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
        match &mut self.framing {
            Framing::Nothing => return Err(Unsendable),
            Framing::Length(left) => {
                // Whoever says how much there is was held to that already.
                *left = left.checked_sub(data.len() as u64).ok_or(Unsendable)?;
                self.push(data);
            }
            Framing::Chunked(_) if data.is_empty() => {}
            Framing::Chunked(_) => {
                self.push(format!("{:X}\r\n", data.len()).into());
                self.push(data);
                self.push(Bytes::from_static(b"\r\n"));
            }
        }
        // What comes behind the last piece need not be waited for, and goes in one write with it.
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.end(None)?;
        }
        Ok(())
    }

    /// The body is over, and is let go.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Unsendable> {
        match &self.framing {
            Framing::Nothing | Framing::Length(0) => {}
            Framing::Length(_) => return Err(Unsendable),
            Framing::Chunked(announced) => {
                let trailers = trailers.unwrap_or_default();
                self.push(end(&trailers, announced, self.keeps_case));
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

    fn poll_write(&self, connection: &Connection, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut parts = [IoSlice::new(&[]); MOST_PIECES + A_CHUNK];
        parts[0] = IoSlice::new(&self.head);
        let mut count = usize::from(!self.head.is_empty());
        for (part, piece) in parts[count..].iter_mut().zip(&self.pieces) {
            *part = IoSlice::new(piece);
            count += 1;
        }
        let written = ready!(connection.poll_write(&parts[..count], cx))?;
        if written == 0 {
            return Poll::Ready(Err(ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(written))
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

/// The rest of a request whose answer came early. Whoever reads that is told when this breaks off, or is dropped before it is
/// whole.
pub(crate) struct Rest {
    outgoing: Outgoing,
    connection: Rc<Connection>,
}

impl Rest {
    pub(super) fn new(outgoing: Outgoing, connection: &Rc<Connection>) -> Self {
        connection.sends();
        Self {
            outgoing,
            connection: Rc::clone(connection),
        }
    }

    /// Writes it.
    pub(crate) async fn send(mut self) {
        // What came of it is told when it is dropped.
        let _ = poll_fn(|cx| self.outgoing.poll(&self.connection, cx)).await;
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.connection.has_sent(self.outgoing.sent());
    }
}

/// Bytes of body that are worth a write of their own. A client's pieces are of 48 KiB at most, and one may come on top.
const ENOUGH: usize = 48 * 1024;
/// Pieces of a write, before the last chunk that is put in, which has three.
const MOST_PIECES: usize = 32;
/// What a chunk, the end of the body and the head may add to that.
const A_CHUNK: usize = 5;
