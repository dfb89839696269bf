//! What became of spans, and how the collector does: counted for metrics and for operators, and told in the log when it changes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Endpoint;

/// Spans by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The collector took them.
    pub(crate) exported: u64,
    /// They found no room to wait in.
    pub(crate) dropped: u64,
    /// The collector was not there for too long.
    pub(crate) failed: u64,
    /// The collector did not want them.
    pub(crate) rejected: u64,
}

/// What there is to know of the exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Its format.
    pub(crate) exporter: &'static str,
    /// Where it sends spans to.
    pub(crate) endpoint: String,
    pub(crate) counts: Counts,
    /// Since when nothing is taken; none where all is well.
    pub(crate) failing_since: Option<SystemTime>,
    /// Why something was not taken, also after it has become well again.
    pub(crate) last_error: Option<String>,
}

/// The account that is kept.
#[derive(Debug, Default)]
pub(super) struct Account {
    exported: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    trouble: Mutex<Trouble>,
    was_odd: AtomicBool,
}

#[derive(Debug, Default)]
struct Trouble {
    since: Option<SystemTime>,
    why: Option<String>,
    /// When it was last told.
    told: Option<Instant>,
    /// When it was last told that some are not taken.
    chose: Option<Instant>,
    /// Whoever reads the log believes that it goes on.
    is_known: bool,
}

impl Account {
    pub(super) fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, spans: u64) {
        self.failed.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn rejected(&self, spans: u64) {
        self.rejected.fetch_add(spans, Ordering::Relaxed);
    }

    pub(super) fn counts(&self, dropped: u64) -> Counts {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            exported: now(&self.exported),
            dropped,
            failed: now(&self.failed),
            rejected: now(&self.rejected),
        }
    }

    /// Since when nothing is taken, and why something last was not.
    pub(super) fn trouble(&self) -> (Option<SystemTime>, Option<String>) {
        let trouble = self.lock();
        (trouble.since, trouble.why.clone())
    }

    /// The collector does not take what it is sent.
    pub(super) fn is_ill(&self, endpoint: &Endpoint, why: String) {
        let mut trouble = self.lock();
        if trouble.goes_on() {
            tracing::warn!(collector = %endpoint, %why, "traces: the collector takes no spans; requests go on without");
        } else {
            tracing::debug!(collector = %endpoint, %why, "traces: the collector takes no spans");
        }
        trouble.why = Some(why);
    }

    /// The collector takes what it is sent.
    pub(super) fn is_well(&self, endpoint: &Endpoint) {
        let Some(lasted) = self.lock().ends() else {
            return;
        };
        let counts = self.counts(0);
        tracing::info!(
            collector = %endpoint,
            after = ?Duration::from_secs(lasted.as_secs()),
            failed = counts.failed,
            rejected = counts.rejected,
            "traces: the collector takes spans again"
        );
    }

    /// The collector takes what it is sent, but for some. Told once in a while.
    pub(super) fn is_choosy(&self, endpoint: &Endpoint, why: String) {
        let mut trouble = self.lock();
        let is_due = trouble.chose.is_none_or(|told| told.elapsed() >= REMINDER);
        if is_due {
            tracing::warn!(collector = %endpoint, %why, "traces: the collector takes some spans and others not");
            trouble.chose = Some(Instant::now());
        }
        trouble.why = Some(why);
    }

    /// Whatever answers there says yes as no collector does. Told once.
    pub(super) fn is_odd(&self, endpoint: &Endpoint) {
        if !self.was_odd.swap(true, Ordering::Relaxed) {
            tracing::warn!(collector = %endpoint, "traces: what answers there says that it took spans, but not as a collector of OTLP does; is it one?");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Trouble> {
        // Written in one go each time.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    /// Whether to tell: when it begins, and again once in a while; where it comes and goes, not each time.
    fn goes_on(&mut self) -> bool {
        let pause = if self.since.is_some() {
            REMINDER
        } else {
            self.since = Some(SystemTime::now());
            FLAPPING
        };
        let is_due = self.told.is_none_or(|told| told.elapsed() >= pause);
        if is_due {
            self.told = Some(Instant::now());
            self.is_known = true;
        }
        is_due
    }

    /// How long it lasted, where somebody believes that it does.
    fn ends(&mut self) -> Option<Duration> {
        let since = self.since.take()?;
        let is_known = std::mem::take(&mut self.is_known);
        is_known.then(|| since.elapsed().unwrap_or_default())
    }
}

/// Between two words about the same trouble.
const REMINDER: Duration = Duration::from_secs(300);
/// Between two beginnings that are told.
const FLAPPING: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_is_told_when_it_begins_and_once_in_a_while() {
        let mut trouble = Trouble::default();
        assert!(trouble.goes_on());
        assert!(!trouble.goes_on());
        advance(REMINDER).await;
        assert!(trouble.goes_on());
        assert!(!trouble.goes_on());
        assert!(trouble.ends().is_some());
        assert!(trouble.ends().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_and_goes_is_told_no_more_often_than_each_minute() {
        let mut trouble = Trouble::default();
        assert!(trouble.goes_on());
        assert!(trouble.ends().is_some());
        for _ in 0..10 {
            assert!(!trouble.goes_on());
            assert!(trouble.ends().is_none());
        }
        advance(FLAPPING).await;
        assert!(trouble.goes_on());
        assert!(trouble.ends().is_some());
    }
}
