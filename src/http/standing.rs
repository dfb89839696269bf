//! What the watch looks at: whom an exchange waits for, what has moved, and whether it is to go on. Those who move bytes note
//! it here, and nobody keeps a clock.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// How one exchange stands.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    awaits_client: Cell<bool>,
    awaits_upstream: Cell<bool>,
    answered: Cell<u64>,
    client_blocked: Cell<bool>,
    taken: Cell<u64>,
    request_exempt: Cell<bool>,
    response_exempt: Cell<bool>,
    condemned: Cell<bool>,
    given_up: Cell<bool>,
    /// What serves it.
    task: RefCell<Option<Waker>>,
    /// What reads the request's body, while it waits for the client.
    reader: RefCell<Option<Waker>>,
}

impl Standing {
    /// Whether the application's side waits for bytes of the client's, and who waits there.
    pub(super) fn awaits_client(&self, waits: bool, waker: &Waker) {
        self.awaits_client.set(waits);
        if waits {
            keep(&self.reader, waker);
        }
    }

    pub(super) fn is_awaiting_client(&self) -> bool {
        self.awaits_client.get() && !self.given_up.get()
    }

    /// Whether the client's side waits for bytes of the application's.
    pub(super) fn awaits_upstream(&self, waits: bool) {
        self.awaits_upstream.set(waits);
    }

    pub(super) fn is_awaiting_upstream(&self) -> bool {
        self.awaits_upstream.get()
    }

    /// So many bytes of the response's body have come from the application.
    pub(super) fn has_answered(&self, bytes: usize) {
        self.answered.set(self.answered.get() + bytes as u64);
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.get()
    }

    /// Whether the client's window is shut.
    pub(super) fn client_blocked(&self, is_blocked: bool) {
        self.client_blocked.set(is_blocked);
    }

    pub(super) fn is_client_blocked(&self) -> bool {
        self.client_blocked.get()
    }

    /// The client's window has let so many bytes through.
    pub(super) fn has_taken(&self, bytes: usize) {
        self.taken.set(self.taken.get() + bytes as u64);
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// The request may be silent for as long as it wants.
    pub(super) fn exempt_request(&self) {
        self.request_exempt.set(true);
    }

    pub(super) fn is_request_exempt(&self) -> bool {
        self.request_exempt.get()
    }

    /// The response may be silent for as long as it wants, and its client read it when it wants.
    pub(super) fn exempt_response(&self) {
        self.response_exempt.set(true);
    }

    pub(super) fn is_response_exempt(&self) -> bool {
        self.response_exempt.get()
    }

    /// The task that serves it, to be woken when it is not to go on.
    pub(super) fn served_by(&self, waker: &Waker) {
        keep(&self.task, waker);
    }

    /// It is not to go on.
    pub(super) fn condemn(&self) {
        self.condemned.set(true);
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    pub(super) fn is_condemned(&self) -> bool {
        self.condemned.get()
    }

    /// Whether it was condemned. If so nothing more of the request is wanted, and the answer to that is a matter of its own.
    pub(super) fn give_up(&self) -> bool {
        if !self.condemned.take() {
            return false;
        }
        self.given_up.set(true);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        true
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.get()
    }
}

fn keep(kept: &RefCell<Option<Waker>>, waker: &Waker) {
    let mut kept = kept.borrow_mut();
    if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        *kept = Some(waker.clone());
    }
}
