//! A response's body on its way to the client: counted, and tied to the exchange whose record it closes.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::body_gate::BodyGate;
use super::parts::{clean, unpin};
use super::progress::RequestProgress;
use super::request_body::{Fault, poll_h2};
use super::tunnel::{Duplex, Spoken, Tunnel};
use crate::failure::Reason;
use crate::records::Exchange;
use crate::upstream::{Incoming, Share};

/// Where a response's body comes from.
pub(crate) enum Source {
    /// An application that speaks HTTP/1, and the way to stop what is still sent to it.
    H1(Box<Incoming>, Sending),
    /// One that speaks HTTP/2, and the same.
    H2(h2::RecvStream, Option<Share>, Sending),
    /// Ourselves.
    Local(Option<Bytes>),
    /// None: both sides go on in another protocol.
    Tunnel(Box<dyn Duplex>, Spoken),
}

/// The rest of a request that is sent by a task of its own; dropped, it is stopped.
#[derive(Debug, Default)]
pub(crate) struct Sending(pub(crate) Option<AbortHandle>);

/// A response's body. It owns the exchange: the record is closed when the body is, with the bytes counted here, or as cut
/// short when it is dropped before.
pub(crate) struct ResponseBody {
    source: Source,
    exchange: Option<Box<Exchange>>,
    progress: Rc<RequestProgress>,
    /// Where the request's body waits, perhaps for ever.
    gate: Option<Rc<BodyGate>>,
    /// Bytes still to come, where the head has told how many there are.
    left: Option<u64>,
}

impl ResponseBody {
    /// `length` is what the head says.
    pub(crate) fn new(
        source: Source,
        exchange: Box<Exchange>,
        gate: Option<Rc<BodyGate>>,
        length: Option<u64>,
    ) -> Self {
        let progress = exchange.progress();
        let body = Self {
            source,
            exchange: Some(exchange),
            progress,
            gate,
            left: length,
        };
        if !matches!(body.source, Source::Local(_)) {
            body.progress.responding(body.size_hint().exact());
        }
        body
    }

    pub(crate) fn local(text: Bytes, exchange: Box<Exchange>) -> Self {
        Self::new(Source::Local(Some(text)), exchange, None, None)
    }

    /// What is to follow this answer instead of a body.
    pub(crate) fn take_tunnel(&mut self) -> Option<Tunnel> {
        if !matches!(self.source, Source::Tunnel(..)) {
            return None;
        }
        let source = std::mem::replace(&mut self.source, Source::Local(None));
        match (source, self.exchange.take()) {
            (Source::Tunnel(upstream, spoken), Some(exchange)) => Some(Tunnel {
                upstream,
                exchange,
                spoken,
            }),
            _ => None,
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let polled = match &mut self.source {
            Source::H1(body, _) => Pin::new(&mut **body).poll_frame(cx).map_err(Fault::from),
            Source::H2(stream, ..) => poll_h2(stream, cx),
            Source::Local(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Tunnel(..) => Poll::Ready(None),
        };
        polled.map_ok(clean)
    }

    /// The whole body was read: close the record, keep the connection.
    fn finish(&mut self) {
        match &mut self.source {
            // An application may answer early and read on.
            Source::H1(body, sending) => {
                body.give_back();
                std::mem::take(sending).go_on();
            }
            Source::H2(_, share, sending) => {
                drop(share.take());
                std::mem::take(sending).go_on();
            }
            Source::Local(_) | Source::Tunnel(..) => {}
        }
        if let Some(exchange) = self.exchange.take() {
            exchange.finish();
        }
    }

    fn fail(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            // A client that broke its own request off makes the application's response break off, too.
            exchange.fail(self.progress.failed().unwrap_or(Reason::UpstreamTruncated));
        }
    }

    /// The rest cannot be sent: the record says so, and the connection to the application is not used again.
    pub(crate) fn abandon(&mut self) {
        self.exchange = None;
        if let Source::H1(body, _) = &mut self.source {
            body.abandon();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.progress.standing.is_condemned() {
            self.fail();
            return Poll::Ready(Some(Err(Condemned.into())));
        }
        let polled = self.poll_source(cx);
        self.progress.standing.awaits_upstream(polled.is_pending());
        let frame = ready!(polled);
        match &frame {
            Some(Ok(frame)) => {
                let count = frame.data_ref().map_or(0, Bytes::len);
                self.progress.standing.has_answered(count);
                self.left = self.left.map(|left| left.saturating_sub(count as u64));
                if let Some(exchange) = &mut self.exchange {
                    exchange.sent(count);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    if let Some(exchange) = &mut self.exchange {
                        exchange.ends_with(trailers);
                    }
                    // Nothing comes after them, and nobody asks.
                    self.finish();
                }
            }
            Some(Err(_)) => self.fail(),
            None => self.finish(),
        }
        if self.is_end_stream() {
            return Poll::Ready(frame);
        }
        Poll::Ready(frame.map(|frame| frame.map(unpin)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::H1(body, _) => body.is_end_stream(),
            Source::H2(stream, ..) => stream.is_end_stream(),
            Source::Local(text) => text.is_none(),
            Source::Tunnel(..) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::H1(body, _) => body.size_hint(),
            Source::H2(stream, ..) if stream.is_end_stream() => SizeHint::with_exact(0),
            Source::H2(..) => SizeHint::default(),
            Source::Local(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Source::Tunnel(..) => SizeHint::with_exact(0),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // A body of known length is dropped with its last byte, without being asked for the end, and that of an answer to HEAD is
        // not asked for at all. HTTP/2 may tell the end in a frame of its own, which then nobody sees.
        let is_whole = self.is_end_stream() || self.left == Some(0);
        if is_whole || matches!(self.source, Source::Local(_)) {
            self.finish();
        }
        if let Some(gate) = &self.gate {
            gate.shut();
        }
        self.progress.response_over();
    }
}

impl Sending {
    /// Nobody stops it any more.
    pub(crate) fn go_on(mut self) {
        self.0 = None;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// The exchange is not to go on; its progress knows why.
#[derive(Debug, thiserror::Error)]
#[error("the exchange is given up")]
struct Condemned;

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
