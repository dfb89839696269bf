//! How long the application keeps an unused connection: as it says itself (`Keep-Alive: timeout=5`), or as it was seen to do.
//! Who uses one for longer meets a connection that is just being closed.

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName};

/// What an application was seen to do, and what follows from it.
#[derive(Debug)]
pub(super) struct Patience {
    /// `--pool-idle`.
    configured: Duration,
    /// When it last closed an unused connection, and for how long that had been unused.
    seen: Cell<Option<Seen>>,
    /// What was learnt, and when.
    learnt: Cell<Option<Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    unused: Duration,
}

/// When something happened to a connection that nobody uses: nothing but its end can.
#[derive(Debug)]
pub(super) struct Ended {
    noted: Arc<Noted>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Noted(Mutex<Option<Instant>>);

impl Default for Ended {
    fn default() -> Self {
        let noted = Arc::<Noted>::default();
        Self {
            waker: Arc::clone(&noted).into(),
            noted,
        }
    }
}

impl Ended {
    /// For whoever looks whether it has ended, to be told later.
    pub(super) fn context(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    /// When it was first told; none when it was not.
    pub(super) fn at(&self) -> Option<Instant> {
        *self.noted.lock()
    }

    /// It is about to be unused.
    pub(super) fn forget(&self) {
        *self.noted.lock() = None;
    }
}

impl Noted {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.lock().get_or_insert_with(Instant::now);
    }
}

impl Patience {
    pub(super) fn new(configured: Duration) -> Self {
        Self {
            configured,
            seen: Cell::default(),
            learnt: Cell::default(),
        }
    }

    /// How long a connection may lie unused.
    pub(super) fn limit(&self) -> Duration {
        let learnt = self.learnt.get();
        learnt
            .filter(|learnt| learnt.at.elapsed() < REMEMBERED)
            .map_or(self.configured, |learnt| {
                self.configured.min(learnt.unused.mul_f64(MARGIN))
            })
    }

    /// An unused connection was closed by the application. Once is a restart; twice within a minute is a habit, and the
    /// longer of the two is what it allows.
    pub(super) fn closed(&self, ended: Instant, unused: Duration) {
        if unused < NO_HABIT {
            return;
        }
        let now = Seen { at: ended, unused };
        let Some(before) = self.seen.get() else {
            return self.seen.set(Some(now));
        };
        let longer = Seen {
            unused: before.unused.max(unused),
            ..now
        };
        let since = now.at - before.at;
        if since < AT_ONCE {
            // One event, seen on several connections.
            self.seen.set(Some(Seen {
                at: before.at,
                ..longer
            }));
        } else if since < HABIT {
            tracing::info!(
                for_about = ?longer.unused,
                "the application keeps unused connections for less than --pool-idle; so they are used for less from now on"
            );
            self.learnt.set(Some(longer));
            self.seen.set(Some(now));
        } else {
            self.seen.set(Some(now));
        }
    }
}

/// What a response says of how long its connection is kept: less than that, because the answer was on its way.
pub(super) fn announced(response: &HeaderMap) -> Option<Duration> {
    let kept = stated(response)?;
    Some(kept.saturating_sub(A_SECOND).max(kept / 2))
}

/// The same, as it stands there.
pub(super) fn stated(response: &HeaderMap) -> Option<Duration> {
    let value = response.get(KEEP_ALIVE)?.to_str().ok()?;
    let seconds = value.split(',').find_map(|part| {
        let (name, seconds) = part.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        is_timeout.then(|| seconds.trim().parse::<u32>().ok())?
    })?;
    Some(Duration::from_secs(seconds.into()))
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const A_SECOND: Duration = Duration::from_secs(1);
/// Of what an application was seen to allow, so much is used.
const MARGIN: f64 = 0.8;
/// Nobody keeps connections for less; who closes one that early closes it for another reason, and perhaps a client's.
const NO_HABIT: Duration = Duration::from_millis(500);
const AT_ONCE: Duration = Duration::from_secs(2);
const HABIT: Duration = Duration::from_secs(60);
/// After that it is learnt again.
const REMEMBERED: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_application_says_is_believed_with_a_margin() {
        for (says, wanted) in [
            ("timeout=5", Some(4000)),
            ("timeout=5, max=100", Some(4000)),
            ("max=100, Timeout = 72", Some(71_000)),
            ("timeout=1", Some(500)),
            ("timeout=0", Some(0)),
            ("max=100", None),
            ("timeout=soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("keep-alive", says.parse().unwrap());
            let wanted = wanted.map(Duration::from_millis);
            assert_eq!(announced(&headers), wanted, "{says}");
        }
        assert_eq!(announced(&HeaderMap::new()), None);
    }

    #[test]
    fn a_habit_is_learnt_and_a_restart_is_not() {
        let before = |age: u64, unused: u64| {
            Some(Seen {
                at: Instant::now() - Duration::from_millis(age),
                unused: Duration::from_millis(unused),
            })
        };
        let patience = Patience::new(Duration::from_secs(4));
        // A restart: several connections at once, whatever their age.
        for unused in [3, 700, 2100] {
            patience.closed(Instant::now(), Duration::from_millis(unused));
        }
        assert_eq!(patience.limit(), Duration::from_secs(4));
        // Then connections that were unused for a second.
        patience.seen.set(before(3000, 3));
        patience.closed(Instant::now(), Duration::from_millis(1000));
        assert_eq!(patience.limit(), Duration::from_millis(800));
        // Closed again and again, but not for being unused.
        for _ in 0..9 {
            patience.seen.set(before(3000, 30));
            patience.closed(Instant::now(), Duration::from_millis(30));
        }
        assert_eq!(patience.limit(), Duration::from_millis(800));
        patience.learnt.set(before(700_000, 1000));
        assert_eq!(patience.limit(), Duration::from_secs(4));
    }
}
