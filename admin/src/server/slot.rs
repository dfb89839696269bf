//! A connection's place among those of its listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What the connections of a listener share.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// For followers.
    followers: Arc<Semaphore>,
    /// KiB of long answers.
    answers: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new(followers: usize) -> Self {
        Self {
            followers: Arc::new(Semaphore::new(followers)),
            answers: Arc::new(Semaphore::new(ANSWERS as usize)),
        }
    }
}

/// A connection's place among those of its listener. A handler finds it among the extensions of the request.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    places: Places,
    follows: Arc<AtomicBool>,
    /// Requests that are being worked on, and answers that are being sent.
    works: Arc<AtomicUsize>,
}

impl Slot {
    pub(super) fn new(places: &Places) -> Self {
        Self {
            places: places.clone(),
            follows: Arc::default(),
            works: Arc::default(),
        }
    }

    /// A request on this connection was let in: others give way first, as long as this lives.
    pub(crate) fn work(&self) -> Working {
        self.works.fetch_add(1, Ordering::Relaxed);
        Working(Arc::clone(&self.works))
    }

    pub(super) fn works(&self) -> bool {
        self.works.load(Ordering::Relaxed) > 0
    }

    /// Makes this connection a follower's, unless there are too many of them.
    pub(crate) fn follow(&self) -> Option<Following> {
        let permit = Arc::clone(&self.places.followers)
            .try_acquire_owned()
            .ok()?;
        self.follows.store(true, Ordering::Relaxed);
        Some(Following {
            follows: Arc::clone(&self.follows),
            _permit: permit,
        })
    }

    /// Room for an answer of so many bytes, which may wait for its client; none when others have it all. A short one always
    /// has it.
    pub(crate) fn hold(&self, bytes: usize) -> Option<Held> {
        let kibs = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        let room = if kibs < SHORT {
            None
        } else {
            let answers = Arc::clone(&self.places.answers);
            Some(answers.try_acquire_many_owned(kibs.min(ANSWERS / 2)).ok()?)
        };
        Some(Held {
            _room: room,
            _working: self.work(),
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

/// Work that is being done for a client.
#[derive(Debug)]
pub(crate) struct Working(Arc<AtomicUsize>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Room that an answer takes as long as this lives.
#[derive(Debug)]
pub(crate) struct Held {
    /// None where it is too short to count.
    _room: Option<OwnedSemaphorePermit>,
    _working: Working,
}

/// KiB of all long answers of a listener together. One takes half of it at most, however long it is.
const ANSWERS: u32 = 64 * 1024;
/// KiB from which on an answer is long.
const SHORT: u32 = 256;
