//! A connection of a worker, counted for as long as it lives.

use std::rc::Rc;

use super::Worker;
use crate::census::Presence;
use crate::listener::Accepted;

/// Counts a connection of this worker for as long as it lives.
pub(super) struct Open {
    pub(super) worker: Rc<Worker>,
    /// The sidecar's own look at itself is nobody's connection.
    presence: Option<Rc<Presence>>,
}

impl Open {
    pub(super) fn new(worker: &Rc<Worker>, accepted: &Accepted) -> Self {
        worker.open.set(worker.open.get() + 1);
        Self {
            worker: Rc::clone(worker),
            presence: (!accepted.is_own).then(|| Rc::clone(&accepted.presence)),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let worker = &self.worker;
        if let (Some(presence), true) = (&self.presence, worker.is_closing()) {
            worker.book.ended(presence);
        }
        worker.open.set(worker.open.get() - 1);
        if worker.open.get() == 0 {
            worker.changed.notify_waiters();
        }
    }
}
