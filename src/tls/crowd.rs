//! How many handshakes may be in progress at once. At the limit the oldest without a complete ClientHello gives way: who has
//! sent one costs the CPU that it was worth already, and who has not may never. Where all have sent one, because a recorded one
//! costs nothing to send, it is the oldest that has had time enough for the rest.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::wire::Gauge;

/// The handshakes of one worker, and the number of those of all.
#[derive(Debug)]
pub(crate) struct Crowd {
    all: Arc<AtomicUsize>,
    most: usize,
    /// The oldest first.
    mine: RefCell<VecDeque<Rc<Shaking>>>,
}

/// One handshake in progress, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Rc<Crowd>,
    shaking: Rc<Shaking>,
}

#[derive(Debug)]
struct Shaking {
    wire: Gauge,
    since: Instant,
    gives_way: Notify,
}

impl Crowd {
    pub(crate) fn new(all: Arc<AtomicUsize>, most: usize) -> Rc<Self> {
        Rc::new(Self {
            all,
            most,
            mine: RefCell::default(),
        })
    }

    /// A place for one more; none where there is none, and nobody who would give way.
    pub(super) fn enter(self: &Rc<Self>, wire: Gauge) -> Option<Place> {
        let mut mine = self.mine.borrow_mut();
        if self.all.load(Ordering::Relaxed) >= self.most {
            // We write nothing before we have read a whole ClientHello.
            let oldest = mine.iter().position(|one| one.wire.taken() == 0);
            let first = || {
                mine.front()
                    .is_some_and(|one| one.since.elapsed() >= ENOUGH)
            };
            let oldest = oldest.or_else(|| first().then_some(0))?;
            // Its place is free when its task has noticed: a moment in which there is one too many.
            mine.remove(oldest)?.gives_way.notify_one();
        }
        self.all.fetch_add(1, Ordering::Relaxed);
        let shaking = Rc::new(Shaking {
            wire,
            since: Instant::now(),
            gives_way: Notify::new(),
        });
        mine.push_back(Rc::clone(&shaking));
        Some(Place {
            crowd: Rc::clone(self),
            shaking,
        })
    }
}

impl Place {
    /// Done when it is to give way.
    pub(super) async fn given_away(&self) {
        self.shaking.gives_way.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.all.fetch_sub(1, Ordering::Relaxed);
        let mut mine = self.crowd.mine.borrow_mut();
        if let Some(at) = mine.iter().position(|one| Rc::ptr_eq(one, &self.shaking)) {
            mine.remove(at);
        }
    }
}

/// For a client that is really there to answer, on the other side of the world.
const ENOUGH: Duration = Duration::from_secs(1);
