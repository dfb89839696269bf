//! Whoever was not let in, counted, and told to the audit: the first at once, and what follows it closely as a number, so
//! that a flood of wrong tokens does not become a flood of records.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

/// Where refusals are told.
pub trait Audit: Send + Sync {
    /// `who` was not let in: a stable word for why, and a sentence.
    fn refused(&self, who: &str, reason: &'static str, detail: &str);
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    CrossSite,
    TooMany,
    TokenMissing,
    TokenWrong,
    Scope,
    Handshake,
}

impl Why {
    const ALL: [Self; 6] = [
        Self::CrossSite,
        Self::TooMany,
        Self::TokenMissing,
        Self::TokenWrong,
        Self::Scope,
        Self::Handshake,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::CrossSite => "cross_site",
            Self::TooMany => "too_many",
            Self::TokenMissing => "token_missing",
            Self::TokenWrong => "token_wrong",
            Self::Scope => "scope",
            Self::Handshake => "handshake",
        }
    }
}

pub(super) struct Complaints {
    audit: Arc<dyn Audit>,
    counts: [AtomicU64; Why::ALL.len()],
    /// For each reason: how many were not told of yet; none when the next is told at once.
    untold: Mutex<[Option<u64>; Why::ALL.len()]>,
}

impl Complaints {
    pub(super) fn new(audit: Arc<dyn Audit>) -> Arc<Self> {
        Arc::new(Self {
            audit,
            counts: Default::default(),
            untold: Mutex::default(),
        })
    }

    /// How many there were, by the word for why.
    pub(super) fn counts(&self) -> [(&'static str, u64); Why::ALL.len()] {
        Why::ALL.map(|why| {
            let count = &self.counts[why as usize];
            (why.word(), count.load(Ordering::Relaxed))
        })
    }

    pub(super) fn count(&self, why: Why) {
        self.counts[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts it, and tells of it.
    pub(super) fn tell(self: &Arc<Self>, why: Why, who: &str, detail: &str) {
        self.count(why);
        match &mut self.untold()[why as usize] {
            Some(untold) => {
                *untold += 1;
                return;
            }
            none => *none = Some(0),
        }
        self.audit.refused(who, why.word(), detail);
        let this = Arc::clone(self);
        tokio::spawn(async move {
            sleep(QUIET).await;
            let more = this.untold()[why as usize].take().unwrap_or_default();
            if more > 0 {
                let detail = format!("{more} more within {} s", QUIET.as_secs());
                this.audit.refused("several", why.word(), &detail);
            }
        });
    }

    fn untold(&self) -> std::sync::MutexGuard<'_, [Option<u64>; Why::ALL.len()]> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between two records of the same kind.
const QUIET: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Audit for Told {
        fn refused(&self, who: &str, reason: &'static str, detail: &str) {
            let line = format!("{who}: {reason}: {detail}");
            self.0.lock().unwrap().push(line);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_told_at_once_and_a_flood_as_a_number() {
        let told = Arc::<Told>::default();
        let complaints = Complaints::new(Arc::clone(&told) as _);
        for _ in 0..1000 {
            complaints.tell(Why::TokenWrong, "192.0.2.1:7", "a wrong token");
        }
        complaints.tell(Why::Scope, "token web", "only read");
        sleep(QUIET * 2).await;
        complaints.tell(Why::TokenWrong, "192.0.2.1:8", "a wrong token");
        assert_eq!(
            *told.0.lock().unwrap(),
            [
                "192.0.2.1:7: token_wrong: a wrong token",
                "token web: scope: only read",
                "several: token_wrong: 999 more within 10 s",
                "192.0.2.1:8: token_wrong: a wrong token",
            ]
        );
        assert!(complaints.counts().contains(&("token_wrong", 1001)));
    }
}
