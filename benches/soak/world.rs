//! What everybody who takes part shares.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::app::App;
use crate::books::Books;
use crate::dial::Dialer;
use crate::sidecar::Sidecar;

pub(crate) struct World {
    pub(crate) books: Arc<Books>,
    pub(crate) sidecar: Sidecar,
    pub(crate) dialer: Dialer,
    pub(crate) apps: [Arc<App>; 2],
    pub(crate) is_over: AtomicBool,
}

impl World {
    pub(crate) fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// A while of so many milliseconds; less when it is over meanwhile.
    pub(crate) async fn pause(&self, rng: &mut fastrand::Rng, range: Range<u64>) {
        let mut left = rng.u64(range);
        while left > 0 && self.goes_on() {
            let part = left.min(200);
            sleep(Duration::from_millis(part)).await;
            left -= part;
        }
    }

    pub(crate) fn happened(&self, what: &'static str) {
        self.books.lock().tally.happened(what);
    }

    pub(crate) fn violated(&self, what: impl Into<String>) {
        self.books.violated(what);
    }

    /// Waits until the application has read a request's head. Where it never does, because it was restarted, that is the end
    /// of the wait, too.
    pub(crate) async fn is_at_app(&self, id: u64) {
        for _ in 0..500 {
            if self.books.was_seen_by_app(id) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}
