//! A connection's place among those of its listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection's place among those of its listener. A handler finds it among the extensions of the request.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// The places for followers that are left.
    followers: Arc<Semaphore>,
    follows: Arc<AtomicBool>,
    /// A request on it was let in.
    is_admitted: Arc<AtomicBool>,
}

impl Slot {
    pub(super) fn new(followers: &Arc<Semaphore>) -> Self {
        Self {
            followers: Arc::clone(followers),
            follows: Arc::default(),
            is_admitted: Arc::default(),
        }
    }

    /// Whoever is here may ask: others give way first.
    pub(crate) fn admit(&self) {
        self.is_admitted.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_admitted(&self) -> bool {
        self.is_admitted.load(Ordering::Relaxed)
    }

    /// Makes this connection a follower's, unless there are too many of them.
    pub(crate) fn follow(&self) -> Option<Following> {
        let permit = Arc::clone(&self.followers).try_acquire_owned().ok()?;
        self.follows.store(true, Ordering::Relaxed);
        Some(Following {
            follows: Arc::clone(&self.follows),
            _permit: permit,
        })
    }

    pub(super) fn follows(&self) -> bool {
        self.follows.load(Ordering::Relaxed)
    }
}

/// A follower's place: its connection is neither timed nor asked to give way as long as this lives.
#[derive(Debug)]
pub(crate) struct Following {
    follows: Arc<AtomicBool>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.follows.store(false, Ordering::Relaxed);
    }
}
