//! Bodies on their way: counted, and tied to the exchange whose record they close.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::progress::RequestProgress;
use crate::failure::Reason;
use crate::headers::clean_trailers;
use crate::records::Exchange;
use crate::upstream::Lease;

/// A request's body on its way to the application.
pub(crate) struct RequestBody {
    source: RequestSource,
    progress: Rc<RequestProgress>,
}

enum RequestSource {
    /// Nothing to send: the body of a request that is sent again.
    Empty,
    H1(Incoming),
    H2(h2::RecvStream),
}

impl RequestBody {
    pub(crate) fn empty(progress: Rc<RequestProgress>) -> Self {
        Self {
            source: RequestSource::Empty,
            progress,
        }
    }

    pub(crate) fn h1(body: Incoming, progress: Rc<RequestProgress>) -> Self {
        Self {
            source: RequestSource::H1(body),
            progress,
        }
    }

    pub(crate) fn h2(body: h2::RecvStream, progress: Rc<RequestProgress>) -> Self {
        Self {
            source: RequestSource::H2(body),
            progress,
        }
    }
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let polled = match &mut self.source {
            RequestSource::Empty => Poll::Ready(None),
            RequestSource::H1(body) => Pin::new(body).poll_frame(cx).map_err(Fault::from),
            RequestSource::H2(stream) => poll_h2(stream, cx),
        };
        self.progress.awaits_client(polled.is_pending());
        let frame = ready!(polled).map(|frame| frame.map(clean));
        match &frame {
            Some(Ok(frame)) => self.progress.count(frame.data_ref().map_or(0, Bytes::len)),
            // The framer has named a sharper reason already where it could.
            Some(Err(_)) => self.progress.fail(Reason::ClientGone),
            None => {}
        }
        if frame.is_none() || self.is_end_stream() {
            self.progress.passed_on();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            RequestSource::Empty => true,
            RequestSource::H1(body) => body.is_end_stream(),
            RequestSource::H2(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            RequestSource::Empty => SizeHint::with_exact(0),
            RequestSource::H1(body) => body.size_hint(),
            RequestSource::H2(stream) if stream.is_end_stream() => SizeHint::with_exact(0),
            RequestSource::H2(_) => SizeHint::default(),
        }
    }
}

/// Trailers are fields like any other: an application may merge them into its header.
fn clean(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        clean_trailers(trailers);
    }
    frame
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.progress.let_go();
    }
}

/// The next frame of an HTTP/2 body. Its window is given back as it is passed on, so the application's pace is the
/// client's.
fn poll_h2(
    stream: &mut h2::RecvStream,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
    match ready!(stream.poll_data(cx)) {
        Some(Ok(data)) => {
            // It fails only for a stream that has ended meanwhile.
            let _ = stream.flow_control().release_capacity(data.len());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
        None => {}
    }
    match ready!(stream.poll_trailers(cx)) {
        Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
        Ok(None) => Poll::Ready(None),
        Err(error) => Poll::Ready(Some(Err(error.into()))),
    }
}

/// A response's body on its way to the client. It owns the exchange: the record is closed when the body is, with the
/// bytes counted here, or as cut short when it is dropped before.
pub(crate) struct ResponseBody {
    source: ResponseSource,
    exchange: Option<Exchange>,
    progress: Rc<RequestProgress>,
}

enum ResponseSource {
    Upstream(Incoming, Option<Lease>),
    Local(Option<Bytes>),
}

impl ResponseBody {
    pub(crate) fn upstream(body: Incoming, lease: Lease, exchange: Exchange) -> Self {
        let progress = exchange.progress();
        progress.responding(body.size_hint().exact());
        Self {
            source: ResponseSource::Upstream(body, Some(lease)),
            exchange: Some(exchange),
            progress,
        }
    }

    pub(crate) fn local(text: Bytes, exchange: Exchange) -> Self {
        let progress = exchange.progress();
        Self {
            source: ResponseSource::Local(Some(text)),
            exchange: Some(exchange),
            progress,
        }
    }

    /// The whole body was read: close the record, keep the connection.
    fn finish(&mut self) {
        if let ResponseSource::Upstream(_, lease) = &mut self.source
            && let Some(lease) = lease.take()
        {
            lease.give_back();
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
        if let ResponseSource::Upstream(_, lease) = &mut self.source {
            *lease = None;
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = match &mut self.source {
            ResponseSource::Upstream(body, _) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map(clean))
            }
            ResponseSource::Local(text) => text.take().map(|text| Ok(Frame::data(text))),
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(exchange)) = (frame.data_ref(), &mut self.exchange) {
                    exchange.sent(data.len());
                }
                // Nothing comes after trailers, and nobody asks.
                if frame.is_trailers() {
                    self.finish();
                }
            }
            Some(Err(_)) => self.fail(),
            None => self.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            ResponseSource::Upstream(body, _) => body.is_end_stream(),
            ResponseSource::Local(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            ResponseSource::Upstream(body, _) => body.size_hint(),
            ResponseSource::Local(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // hyper drops a body of known length with its last byte, without asking for the end, and does not ask for the
        // body of an answer to HEAD at all.
        if self.is_end_stream() || matches!(self.source, ResponseSource::Local(_)) {
            self.finish();
        }
        self.progress.response_over();
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
