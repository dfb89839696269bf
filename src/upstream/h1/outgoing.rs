//! A request on its way to the application, which may stop listening before it has said what it has to say.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::Request;

use super::Connection;
use super::request::write;
use crate::http::{Message, RequestBody, Unsendable};

/// What of a request is still to be written.
pub(crate) struct Outgoing {
    message: Message<RequestBody>,
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

impl Outgoing {
    /// This request's head, and behind it this body.
    pub(super) fn new<B>(request: &Request<B>, body: RequestBody, keeps_case: bool) -> Self {
        let (head, framed) = write(request, &body, keeps_case);
        Self {
            message: Message::new(head, framed, body, ENOUGH, keeps_case),
            is_deaf: false,
        }
    }

    /// Whether there is nothing left that could be written.
    pub(super) fn is_over(&self) -> bool {
        self.sent() != Sent::InPart
    }

    /// How it stands.
    pub(super) fn sent(&self) -> Sent {
        match self.is_deaf {
            true => Sent::Unheard,
            false if self.message.is_written() => Sent::Whole,
            false => Sent::InPart,
        }
    }

    /// Writes on, until all is written or the application takes no more.
    pub(super) fn poll(
        &mut self,
        connection: &Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unsendable>> {
        while !self.is_over() {
            let gathered = self.message.poll_gather(cx)?;
            if !self.message.has_bytes() {
                ready!(gathered);
                continue;
            }
            let written = self
                .message
                .poll_write(|parts| connection.poll_write(parts, cx));
            self.is_deaf = ready!(written).is_err();
        }
        Poll::Ready(Ok(()))
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
