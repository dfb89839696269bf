//! What is known of a request while it is on its way: the framer, the bodies and the exchange each see one side of it, on one
//! thread, and share this.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::Response;
use tokio::time::sleep_until;

use super::standing::Standing;
use crate::failure::Reason;
use crate::headers::Spelling;

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
    /// The application's side has read the request's body or given it up.
    let_go: Cell<bool>,
    /// What the watch looks at.
    pub(super) standing: Standing,
    /// When a byte of the body last moved.
    moved: Cell<Option<Instant>>,
    response_over: Cell<bool>,
    /// What goes to the client ahead of the answer.
    interim: RefCell<Vec<Response<()>>>,
    /// How the application wrote the names in its answer, until that is written.
    spelling: RefCell<Option<Spelling>>,
    /// The connection's task, when all it waits for is the end of the request's body.
    waker: RefCell<Option<Waker>>,
}

impl RequestProgress {
    /// Body bytes passed on to the application.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// The request is sent once more, from its first byte.
    pub(crate) fn starts_over(&self) {
        self.bytes.set(0);
        self.passed_on.set(false);
    }

    pub(super) fn count(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
        self.moved.set(Some(Instant::now()));
    }

    pub(crate) fn is_awaiting_client(&self) -> bool {
        let is_over = self.passed_on.get() || self.let_go.get();
        self.standing.is_awaiting_client() && !is_over
    }

    pub(crate) fn is_awaiting_upstream(&self) -> bool {
        self.standing.is_awaiting_upstream() && !self.response_over.get()
    }

    pub(crate) fn is_client_blocked(&self) -> bool {
        self.standing.is_client_blocked()
    }

    /// What is sent to an RPC may be silent for as long as it wants.
    pub(crate) fn exempt_request(&self) {
        self.standing.exempt_request();
    }

    /// The same of what is answered. A client's word is not enough for that.
    pub(crate) fn exempt_response(&self) {
        self.standing.exempt_response();
    }

    /// It is not to go on, for this reason. Before there is an answer, this becomes one.
    pub(super) fn condemn(&self, reason: Reason) {
        self.fail(reason);
        self.standing.condemn();
    }

    /// Nothing more of the request is wanted, although it is answered.
    pub(super) fn give_up(&self) {
        self.standing.condemn();
        self.standing.give_up();
    }

    pub(crate) fn is_response_exempt(&self) -> bool {
        self.standing.is_response_exempt()
    }

    /// Why it is not to go on. From now on nothing more of the request is wanted, and it is the answer that is watched.
    pub(crate) fn take_sentence(&self) -> Option<Reason> {
        self.standing.give_up().then(|| self.failed()).flatten()
    }

    /// When the request last moved; none before its first byte of body.
    pub(crate) fn moved(&self) -> Option<Instant> {
        self.moved.get()
    }

    /// This is to go to the client ahead of the answer.
    pub(crate) fn tell(&self, interim: Response<()>) {
        self.interim.borrow_mut().push(interim);
    }

    pub(super) fn take_interim(&self) -> Vec<Response<()>> {
        self.interim.take()
    }

    /// The names in the head of the answer are to be written so.
    pub(crate) fn spells(&self, spelling: Option<Spelling>) {
        *self.spelling.borrow_mut() = spelling;
    }

    pub(super) fn take_spelling(&self) -> Option<Spelling> {
        self.spelling.take()
    }

    /// The request's body is gone: read to its end, or given up.
    pub(super) fn let_go(&self) {
        self.let_go.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
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
        if !self.passed_on.replace(true) {
            self.moved.set(Some(Instant::now()));
        }
    }

    /// A response has begun, of this length if it is known.
    pub(super) fn responding(&self, length: Option<u64>) {
        self.streaming.set(length.is_none());
    }

    /// The response's body is gone: sent, or given up.
    pub(super) fn response_over(&self) {
        self.response_over.set(true);
    }

    pub(crate) fn half_closed(&self) {
        self.half_closed.set(true);
    }

    /// Whether a response without end goes to a client that may not be there any more: one that still listens and one
    /// that has closed both say that they will send no more.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.half_closed.get() && self.streaming.get()
    }

    /// Done when the response is over, and the request's body has not moved for so long.
    pub(crate) async fn until_nobody_cares(&self, limit: Duration) {
        let mut since = Instant::now();
        loop {
            sleep_until((since + limit).into()).await;
            let moved = self.moved.get().filter(|moved| *moved > since);
            match (self.response_over.get(), moved) {
                (true, None) => return,
                (true, Some(moved)) => since = moved,
                (false, _) => since = Instant::now(),
            }
        }
    }

    /// Whether the application's side has read the request's body or given it up.
    pub(super) fn is_let_go(&self) -> bool {
        self.let_go.get()
    }

    /// Ready when the application's side has read the request's body or given it up.
    pub(super) fn poll_let_go(&self, cx: &Context<'_>) -> Poll<()> {
        self.wake_when_let_go(cx.waker());
        if self.is_let_go() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Wakes the connection's task when the request's body is gone.
    pub(crate) fn wake_when_let_go(&self, waker: &Waker) {
        if !self.let_go.get() {
            self.waker.replace(Some(waker.clone()));
        }
    }
}
