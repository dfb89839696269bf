//! The body of the message that is being served, read as it is asked for and taken out of its frame.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Frame;

use super::Framer;
use crate::byte_stream::{ByteStream, RECORD, append};
use crate::failure::Reason;
use crate::http::chunked::Chunked;
use crate::http::head::Framing;
use crate::http::progress::RequestProgress;

/// What of a body was not handed on yet.
#[derive(Debug)]
pub(super) struct Reading {
    left: Left,
    /// What has come of it, and perhaps of what follows it.
    come: Bytes,
    /// The stream has broken, or the body is not framed as it should be.
    is_broken: bool,
}

#[derive(Debug)]
enum Left {
    Length(u64),
    Chunked(Chunked),
}

/// Where a body is read from, whatever its bytes come by.
pub(crate) trait Reads {
    /// The next part of the body; none at its end.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>>;

    /// Whether all of it was handed on.
    fn is_over(&self) -> bool;

    /// Bytes still to come, where the head has told.
    fn left(&self) -> Option<u64>;
}

impl Reading {
    /// None where there is no body.
    pub(super) fn new(framing: Framing, ahead: &mut BytesMut) -> Option<Box<Self>> {
        let left = match framing {
            Framing::Length(0) => return None,
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunked(Chunked::strict()),
        };
        let come = match left {
            // What follows stays where it is.
            Left::Length(length) if length < ahead.len() as u64 => {
                ahead.split_to(length as usize).freeze()
            }
            _ => std::mem::take(ahead).freeze(),
        };
        Some(Box::new(Self {
            left,
            come,
            is_broken: false,
        }))
    }

    /// The next part of what has come.
    fn next(&mut self) -> io::Result<Option<Frame<Bytes>>> {
        match &mut self.left {
            Left::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = self.come.split_to(most.min(self.come.len()));
                *left -= data.len() as u64;
                Ok((!data.is_empty()).then(|| Frame::data(data)))
            }
            Left::Chunked(chunked) => chunked.next(&mut self.come),
        }
    }

    fn is_over(&self) -> bool {
        match &self.left {
            Left::Length(left) => *left == 0,
            Left::Chunked(chunked) => chunked.is_over(),
        }
    }

    /// Whether what has come is known to be all of it.
    pub(super) fn has_come(&self) -> bool {
        matches!(self.left, Left::Length(left) if left == self.come.len() as u64)
    }

    /// How much may be read at once without reading too far behind it.
    fn room(&self) -> usize {
        match self.left {
            Left::Length(left) => usize::try_from(left).map_or(MOST, |left| left.min(MOST)),
            Left::Chunked(_) => MOST,
        }
    }
}

impl<S: ByteStream> Framer<S> {
    /// As many records as are here and fit. No bytes are the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let most = self.body.as_ref().map_or(0, |body| body.room());
        let mut come = BytesMut::new();
        while come.is_empty() || most - come.len() >= RECORD {
            let room = most - come.len();
            let polled = self.stream.poll_bytes(cx, room, &mut |bytes| {
                if come.is_empty() {
                    come.reserve(if bytes.len() < SHORT {
                        bytes.len()
                    } else {
                        most
                    });
                }
                append(&mut come, bytes);
            });
            match polled {
                Poll::Ready(Ok(1..)) if come.len() < most => {}
                Poll::Ready(Ok(1..)) => break,
                // What came before is handed on. TLS tells some errors once.
                polled if !come.is_empty() => {
                    if let (Poll::Ready(_), Some(body)) = (polled, &mut self.body) {
                        body.is_broken = true;
                    }
                    break;
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(_)) => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        if come.len() <= come.capacity() / 3 {
            // It may have to wait, and would keep all of its room.
            return Poll::Ready(Ok(Bytes::copy_from_slice(&come)));
        }
        Poll::Ready(Ok(come.freeze()))
    }

    /// The body is over: what has come behind it is the next message's.
    fn over(&mut self) {
        if let Some(body) = self.body.take()
            && !body.come.is_empty()
        {
            self.buffer = body.come[..].into();
        }
        self.tell(RequestProgress::read_whole);
    }

    fn broken(&mut self, reason: Reason) -> io::Error {
        self.tell(|progress| progress.fail(reason));
        if let Some(body) = &mut self.body {
            body.is_broken = true;
            body.come.clear();
        }
        io::Error::new(io::ErrorKind::UnexpectedEof, reason.word())
    }
}

impl<S: ByteStream> Reads for Framer<S> {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            match body.next() {
                Err(_) => return Poll::Ready(Some(Err(self.broken(Reason::BadFraming)))),
                Ok(part) => {
                    if body.is_over() {
                        self.over();
                    }
                    if let Some(part) = part {
                        return Poll::Ready(Some(Ok(part)));
                    }
                }
            }
            let Some(body) = &self.body else { continue };
            let is_broken = body.is_broken || self.ended;
            let come = match is_broken {
                true => Ok(Bytes::new()),
                false => ready!(self.poll_more(cx)),
            };
            match (come, &mut self.body) {
                (Ok(come), Some(body)) if !come.is_empty() => body.come = come,
                _ => return Poll::Ready(Some(Err(self.broken(Reason::ClientGone)))),
            }
        }
    }

    fn is_over(&self) -> bool {
        self.body.is_none()
    }

    fn left(&self) -> Option<u64> {
        match &self.body {
            None => Some(0),
            Some(body) => match body.left {
                Left::Length(left) => Some(left),
                Left::Chunked(_) => None,
            },
        }
    }
}

/// Bytes read at once: several records become one write to the application.
const MOST: usize = 3 * RECORD;
/// What is less than this leaves its buffer soon.
const SHORT: usize = 4 * 1024;
