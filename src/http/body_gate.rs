//! Where a request's body waits until the application asks for it.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// Where a body waits for the application to ask for it (`Expect: 100-continue`; RFC 9110, section 10.1.1).
#[derive(Debug, Default)]
pub(crate) struct BodyGate {
    is_open: Cell<Option<bool>>,
    waiting: RefCell<Option<Waker>>,
}

impl BodyGate {
    /// The body may go.
    pub(crate) fn open(&self) {
        self.decide(true);
    }

    /// The body is not wanted any more, if it has not gone yet.
    pub(crate) fn shut(&self) {
        self.decide(false);
    }

    /// Whether the body was asked for.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.get() == Some(true)
    }

    fn decide(&self, opens: bool) {
        if self.is_open.get().is_none() {
            self.is_open.set(Some(opens));
            if let Some(waker) = self.waiting.take() {
                waker.wake();
            }
        }
    }

    pub(super) fn poll_open(&self, cx: &Context<'_>) -> Poll<bool> {
        match self.is_open.get() {
            Some(is_open) => Poll::Ready(is_open),
            None => {
                self.waiting.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}
