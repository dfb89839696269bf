//! What is now: connections and exchanges of one thread, and whether that goes on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

/// Gauges of downstream and upstream connections.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    /// In the TLS handshake.
    pub handshaking: AtomicI64,
    /// Handshake done, between accept and close.
    pub open: AtomicI64,
    /// Of these, between two requests.
    pub idle: AtomicI64,
    /// To the application, not in use.
    pub upstream_idle: AtomicI64,
    /// Exchanges in progress.
    in_flight: AtomicI64,
    /// When its thread last said that it goes on, in milliseconds since the first did; 0 where it says nothing any more.
    alive: AtomicU64,
}

/// What is now, of all threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    /// In the TLS handshake.
    pub handshaking: i64,
    /// Handshake done.
    pub open: i64,
    /// Of these, between two requests.
    pub idle: i64,
    /// To the application, not in use.
    pub upstream_idle: i64,
    /// Exchanges in progress.
    pub in_flight: i64,
    /// Threads that stand still.
    pub blocked: usize,
}

impl Gauges {
    /// Of `open` connections to the application, those in use. Counted by several threads, a moment apart, a difference may come
    /// out below nothing.
    pub(crate) fn upstream_active(&self, open: usize) -> i64 {
        (open as i64 - self.upstream_idle).max(0)
    }
}

impl Conns {
    /// The thread goes on. Said once a second.
    pub(crate) fn is_alive(&self) {
        self.alive.store(now(), Ordering::Relaxed);
    }

    /// The thread ends, and says nothing more.
    pub(crate) fn is_over(&self) {
        self.alive.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_blocked(&self) -> bool {
        match self.alive.load(Ordering::Relaxed) {
            0 => false,
            at => now().saturating_sub(at) >= BLOCKED,
        }
    }

    /// So many exchanges are in progress now.
    pub(crate) fn in_flight(&self, exchanges: usize) {
        // One thread writes it, so a store does.
        self.in_flight.store(exchanges as i64, Ordering::Relaxed);
    }

    /// Adds this thread's gauges to `sum`.
    pub(super) fn add_to(&self, sum: &mut Gauges) {
        let now = |gauge: &AtomicI64| gauge.load(Ordering::Relaxed);
        sum.handshaking += now(&self.handshaking);
        sum.open += now(&self.open);
        sum.idle += now(&self.idle);
        sum.upstream_idle += now(&self.upstream_idle);
        sum.in_flight += now(&self.in_flight);
        sum.blocked += usize::from(self.is_blocked());
    }
}

/// Adds one to a gauge for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted<'a>(&'a AtomicI64);

impl<'a> Counted<'a> {
    pub(crate) fn new(gauge: &'a AtomicI64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Milliseconds since this was first asked, and one more.
fn now() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let since = FIRST.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_millis()).map_or(u64::MAX, |ms| ms.saturating_add(1))
}

/// Milliseconds without a word from a thread that says one each second.
const BLOCKED: u64 = 3_000;
