//! A request and the wait for its answer: both directions of a connection, in the task of the exchange.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};

use super::body::Incoming;
use super::outgoing::{Outgoing, Rest, Sent};
use super::response::{self, Asked, Head, Taken};
use crate::headers::Spelling;
use crate::http::RequestBody;
use crate::rewound::Rewound;
use crate::upstream::Lease;
use crate::upstream::patience::announced;
use crate::upstream::stream::Stream;

/// A request on its way, until there is the head of its answer. Boxed: it goes from stage to stage.
pub(crate) struct Asking {
    lease: Lease,
    outgoing: Outgoing,
    asked: Asked,
    /// Room to read into, with what has come of a head.
    buffer: BytesMut,
    /// What has come behind a head.
    ahead: Bytes,
}

/// What comes over a connection that was asked.
pub(crate) enum Heard {
    /// 100, 103 and the like.
    Interim(Response<()>),
    /// 101: from here on it is another protocol's.
    Switching(Response<()>, Option<Spelling>),
    /// What [`Asking::into_answer`] makes an answer of.
    Head(Head),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection ended before there was one.
    Ended,
    /// What came is none.
    Malformed,
    /// The request itself broke off.
    Unsendable,
}

impl Asking {
    /// Sends this request's head, and behind it this body, over this connection, as it is polled. With `keeps_spelling` the
    /// answer's names are remembered as they are written.
    pub(crate) fn new<B>(
        lease: Lease,
        request: &Request<B>,
        body: RequestBody,
        keeps_spelling: bool,
    ) -> Box<Self> {
        let keeps_case = lease.keeps_case();
        Box::new(Self {
            outgoing: Outgoing::new(request, body, keeps_case),
            lease,
            asked: Asked {
                is_head: request.method() == Method::HEAD,
                keeps_spelling: keeps_case && keeps_spelling,
            },
            buffer: BytesMut::new(),
            ahead: Bytes::new(),
        })
    }

    /// Writes on, and waits for the next head.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Heard, Failure>> {
        // Written first: what an application said before it stopped reading is still there to be read.
        if let Poll::Ready(Err(_)) = self.outgoing.poll(self.lease.connection(), cx) {
            return Poll::Ready(Err(Failure::Unsendable));
        }
        loop {
            if self.ahead.is_empty() {
                ready!(self.poll_read(cx))?;
            }
            let come = std::mem::take(&mut self.ahead);
            match response::take(come, self.asked).map_err(|_| Failure::Malformed)? {
                Taken::Partial(part) => {
                    self.buffer = part.try_into_mut().unwrap_or_else(|part| part[..].into());
                }
                Taken::Whole(head, ahead) => {
                    self.ahead = ahead;
                    return Poll::Ready(Ok(Heard::of(head)));
                }
            }
        }
    }

    /// Reads until it is worth a look: something has come, and when that was no whole head, another line of it.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            let seen = self.buffer.len();
            self.buffer.reserve(FIRST_READ);
            let read = ready!(self.lease.connection().poll_read(&mut self.buffer, cx));
            if !matches!(read, Ok(1..)) {
                return Poll::Ready(Err(Failure::Ended));
            }
            let has_line = self.buffer[seen..].contains(&b'\n');
            if seen == 0 || has_line || self.buffer.len() >= response::MOST_HEAD {
                self.ahead = std::mem::take(&mut self.buffer).freeze();
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// The answer, after its head, and what of the request is still to be written when it came early.
    pub(crate) fn into_answer(self: Box<Self>, head: Head) -> (Response<Incoming>, Option<Rest>) {
        let Self {
            mut lease,
            outgoing,
            ahead,
            ..
        } = *self;
        if !head.is_kept || outgoing.sent() == Sent::Unheard {
            lease.retire();
        }
        let rest = (!outgoing.is_over()).then(|| Rest::new(outgoing, lease.connection()));
        if let Some(kept) = announced(head.response.headers()) {
            lease.kept_for(kept);
        }
        let body = Incoming::new(lease, head.left, ahead);
        (head.response.map(|()| body), rest)
    }

    /// No other exchange is to have the connection.
    pub(crate) fn retire(&mut self) {
        self.lease.retire();
    }

    /// The connection itself, after a 101.
    pub(crate) fn into_upgraded(self) -> Option<Rewound<Stream>> {
        self.lease.into_upgraded(self.ahead)
    }
}

impl Heard {
    fn of(head: Head) -> Self {
        match head.response.status() {
            StatusCode::SWITCHING_PROTOCOLS => Self::Switching(head.response, head.spelling),
            status if status.is_informational() => Self::Interim(head.response),
            _ => Self::Head(head),
        }
    }
}

/// Room that most heads fit in, with the body of a short answer.
const FIRST_READ: usize = 8 * 1024;
