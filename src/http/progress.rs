//! What is known of a request while it is on its way: the framer, the bodies and the exchange each see one side of it, on one
//! thread, and share this.

use std::cell::Cell;

use crate::failure::Reason;

/// The shared facts of one exchange.
#[derive(Debug, Default)]
pub(crate) struct RequestProgress {
    bytes: Cell<u64>,
    read_whole: Cell<bool>,
    failed: Cell<Option<Reason>>,
    /// The request's body has gone to the application whole.
    passed_on: Cell<bool>,
    /// The client has said that it will send no more.
    half_closed: Cell<bool>,
    /// The response goes on for a length nobody knows.
    streaming: Cell<bool>,
    response_over: Cell<bool>,
    flushed: Cell<bool>,
}

impl RequestProgress {
    /// Body bytes received.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) fn count(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    /// The whole message has been read from the client.
    pub(crate) fn read_whole(&self) {
        self.read_whole.set(true);
    }

    pub(crate) fn is_read_whole(&self) -> bool {
        self.read_whole.get()
    }

    /// The client's side failed; the first reason counts.
    pub(crate) fn fail(&self, reason: Reason) {
        if self.failed.get().is_none() {
            self.failed.set(Some(reason));
        }
    }

    pub(crate) fn failed(&self) -> Option<Reason> {
        self.failed.get()
    }

    /// The request's body has gone to the application whole.
    pub(super) fn passed_on(&self) {
        self.passed_on.set(true);
    }

    /// A response has begun, of this length if it is known.
    pub(super) fn responding(&self, length: Option<u64>) {
        self.streaming.set(length.is_none());
    }

    /// The response's body is gone: sent, or given up.
    pub(super) fn response_over(&self) {
        self.response_over.set(true);
    }

    /// What moves while a request is on its way: its bytes, and whether they were all.
    pub(crate) fn passed(&self) -> (u64, bool) {
        (self.bytes.get(), self.passed_on.get())
    }

    pub(crate) fn half_closed(&self) {
        self.half_closed.set(true);
    }

    /// Whether a response without end goes to a client that may not be there any more: one that still listens and one
    /// that has closed both say that they will send no more.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.half_closed.get() && self.streaming.get()
    }

    pub(crate) fn unflushed(&self) {
        self.flushed.set(false);
    }

    /// Everything written so far has left. Counts for the exchange only once its response body is over, because hyper
    /// buffers the end of a body before it drops it.
    pub(crate) fn flushed(&self) {
        self.flushed.set(self.response_over.get());
    }

    /// The response is over and has left for the client, and the request was read whole: nothing of this exchange
    /// remains in hyper.
    pub(crate) fn is_complete(&self) -> bool {
        self.response_over.get() && self.flushed.get() && self.read_whole.get()
    }
}
