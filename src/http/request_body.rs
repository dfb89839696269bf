//! A request's body on its way to the application: counted, held back until the application wants it, and for a short one
//! of unknown length gathered first.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Reason as Code;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::timeout;

use super::body_gate::BodyGate;
use super::framer::Reads;
use super::parts::{clean, unpin};
use super::progress::RequestProgress;
use crate::failure::Reason;

/// A request's body.
pub(crate) struct RequestBody {
    source: Source,
    /// What was gathered of it, to be sent first.
    gathered: Option<Bytes>,
    gathered_trailers: Option<Box<HeaderMap>>,
    /// Nothing is read before it opens.
    gate: Option<Rc<BodyGate>>,
    /// It is another's business to say that the body is let go.
    is_copy: bool,
    /// Bytes that it may have, if there is a limit.
    most: Option<u64>,
    progress: Rc<RequestProgress>,
}

enum Source {
    /// Nothing, or nothing more.
    Empty,
    /// What an HTTP/1 client sends, as long as its connection is served.
    H1(Weak<RefCell<dyn Reads>>),
    H2(Received),
}

/// What an HTTP/2 client sends, shared with the task of its stream, which reads on for a moment when nobody else does.
pub(super) type Received = Rc<RefCell<h2::RecvStream>>;

impl RequestBody {
    pub(crate) fn empty(progress: Rc<RequestProgress>) -> Self {
        Self::new(Source::Empty, progress)
    }

    pub(super) fn h1(body: Weak<RefCell<dyn Reads>>, progress: Rc<RequestProgress>) -> Self {
        Self::new(Source::H1(body), progress)
    }

    pub(super) fn h2(body: Received, progress: Rc<RequestProgress>) -> Self {
        Self::new(Source::H2(body), progress)
    }

    fn new(source: Source, progress: Rc<RequestProgress>) -> Self {
        Self {
            source,
            gathered: None,
            gathered_trailers: None,
            gate: None,
            most: None,
            is_copy: false,
            progress,
        }
    }

    /// All of it, for whoever sends it.
    pub(crate) fn take(&mut self) -> Self {
        let mut rest = Self::empty(Rc::clone(&self.progress));
        rest.is_copy = true;
        std::mem::replace(self, rest)
    }

    /// It may have so many bytes.
    pub(crate) fn limit(&mut self, most: u64) {
        self.most = Some(most);
    }

    /// From now on nothing of it is read before the gate opens.
    pub(crate) fn wait_at(&mut self, gate: Rc<BodyGate>) {
        self.gate = Some(gate);
    }

    /// The same body once more, if it is all here.
    pub(crate) fn copy(&self) -> Option<Self> {
        let is_here = match &self.source {
            Source::Empty => true,
            Source::H1(_) | Source::H2(_) => self.is_end_stream(),
        };
        is_here.then(|| {
            let mut copy = Self::empty(Rc::clone(&self.progress));
            copy.gathered = self.gathered.clone();
            copy.gathered_trailers = self.gathered_trailers.clone();
            copy.most = self.most;
            copy.is_copy = true;
            copy
        })
    }

    /// Gathers a body that ends within so many bytes and so much time; its length is known then. Of one that does not, what
    /// has come goes first.
    pub(crate) async fn gather(&mut self, most: usize, patience: Duration) {
        if matches!(self.source, Source::Empty) {
            return;
        }
        let mut gathered = BytesMut::from(self.gathered.take().unwrap_or_default());
        let all = async {
            while gathered.len() <= most {
                match poll_fn(|cx| self.poll_source(cx)).await {
                    None => {
                        self.source = Source::Empty;
                        return;
                    }
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => gathered.extend_from_slice(&data),
                        Err(frame) => {
                            self.source = Source::Empty;
                            self.gathered_trailers = frame.into_trailers().ok().map(Box::new);
                            return;
                        }
                    },
                    // It fails again when it is read on.
                    Some(Err(_)) => return,
                }
            }
        };
        // Too slow is as good as too long.
        let _ = timeout(patience, all).await;
        self.gathered = (!gathered.is_empty()).then(|| gathered.freeze());
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match &mut self.source {
            Source::Empty => Poll::Ready(None),
            Source::H1(body) => match body.upgrade() {
                Some(body) => body.borrow_mut().poll_part(cx).map_err(Fault::from),
                None => Poll::Ready(Some(Err(NotWanted.into()))),
            },
            Source::H2(stream) => poll_h2(&mut stream.borrow_mut(), cx),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(data) = self.gathered.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = self.gathered_trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
        }
        let polled = self.poll_source(cx);
        self.progress
            .standing
            .awaits_client(polled.is_pending(), cx.waker());
        polled
    }
}

pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.progress.standing.is_given_up() {
            return Poll::Ready(Some(Err(NotWanted.into())));
        }
        if let Some(gate) = &self.gate {
            match gate.poll_open(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(false) => return Poll::Ready(Some(Err(NotWanted.into()))),
                Poll::Ready(true) => self.gate = None,
            }
        }
        let frame = ready!(self.poll_next(cx)).map(|frame| frame.map(clean));
        match &frame {
            Some(Ok(frame)) => {
                self.progress.count(frame.data_ref().map_or(0, Bytes::len));
                if self.most.is_some_and(|most| self.progress.bytes() > most) {
                    self.progress.fail(Reason::BodyTooLarge);
                    return Poll::Ready(Some(Err(NotWanted.into())));
                }
            }
            // The framer has named a sharper reason already where it could.
            Some(Err(error)) => self.progress.fail(blame(error)),
            None => {}
        }
        if frame.is_none() || self.is_end_stream() {
            self.progress.passed_on();
            return Poll::Ready(frame);
        }
        Poll::Ready(frame.map(|frame| frame.map(unpin)))
    }

    fn is_end_stream(&self) -> bool {
        let has_more = self.gathered.is_some() || self.gathered_trailers.is_some();
        !has_more
            && match &self.source {
                Source::Empty => true,
                Source::H1(body) => body.upgrade().is_some_and(|body| body.borrow().is_over()),
                Source::H2(stream) => stream.borrow().is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty if self.gathered_trailers.is_some() => SizeHint::default(),
            Source::Empty => {
                SizeHint::with_exact(self.gathered.as_ref().map_or(0, |data| data.len() as u64))
            }
            Source::H1(body) => {
                let left = body.upgrade().and_then(|body| body.borrow().left());
                left.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Source::H2(stream) if self.gathered.is_none() && stream.borrow().is_end_stream() => {
                SizeHint::with_exact(0)
            }
            Source::H2(_) => SizeHint::default(),
        }
    }
}

/// Why a body broke off: its client is gone, unless the `h2` crate says that it breaks the rules (a length that is not kept).
fn blame(error: &Fault) -> Reason {
    let Some(error) = error.downcast_ref::<h2::Error>() else {
        // The framer has named a sharper one already.
        return Reason::ClientGone;
    };
    match error.reason() {
        _ if error.is_remote() || error.is_io() => Reason::ClientGone,
        Some(Code::ENHANCE_YOUR_CALM) => Reason::H2Abuse,
        Some(_) if error.is_go_away() => Reason::H2Error,
        Some(Code::PROTOCOL_ERROR) => Reason::BadFraming,
        _ => Reason::ClientGone,
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.is_copy {
            self.progress.let_go();
        }
    }
}

/// The next frame of an HTTP/2 body. Its window is given back as it is passed on, so the application's pace is the
/// client's.
pub(crate) fn poll_h2(
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

/// The application has answered without asking for the body, or it is too large.
#[derive(Debug, thiserror::Error)]
#[error("the body is not wanted")]
struct NotWanted;

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
