//! A change that wants to be confirmed: watched over, and undone when nobody does, or when its application fails.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};

use super::Targets;
use crate::upstream::target::Target;

/// A target that is in force for the time being.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) target: Arc<Target>,
    /// The same moment by the clock that rollbacks go by, and by the one that people read.
    until: Instant,
    pub(crate) ends: SystemTime,
}

/// A change that was undone.
#[derive(Clone, Debug)]
pub(crate) struct Rollback {
    pub(crate) at: SystemTime,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) why: Why,
}

/// Why it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nobody has confirmed it in time.
    Unconfirmed,
    /// So many of so many exchanges within the window have failed.
    Failures(u64, u64),
}

impl Trial {
    pub(super) fn new(target: Arc<Target>, within: Duration) -> Self {
        Self {
            target,
            until: Instant::now() + within,
            ends: SystemTime::now() + within,
        }
    }

    /// How long there is left to confirm it.
    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl Why {
    /// The stable word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unconfirmed => "unconfirmed",
            Self::Failures(..) => "failures",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unconfirmed => f.write_str("nobody has confirmed it in time"),
            Self::Failures(failed, of) => write!(
                f,
                "{failed} of {of} exchanges within {} s have failed",
                WINDOW.as_secs()
            ),
        }
    }
}

impl Targets {
    /// Watches over trials, and says what it undid.
    pub(crate) async fn watch_over_trials(&self, undone: impl Fn(&Rollback)) -> Infallible {
        let mut window = Window::default();
        loop {
            let changed = self.changed.notified();
            let Some(trial) = self.standing().trial else {
                changed.await;
                continue;
            };
            let why = window
                .look(&trial.target, Instant::now())
                .or_else(|| trial.left().is_zero().then_some(Why::Unconfirmed));
            if let Some(rollback) = why.and_then(|why| self.roll_back(&trial, why)) {
                undone(&rollback);
                continue;
            }
            let next = trial.until.min(Instant::now() + LOOK);
            tokio::select! {
                () = changed => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// None when the trial is over already: it was confirmed in this very moment, or another change took its place.
    fn roll_back(&self, trial: &Trial, why: Why) -> Option<Rollback> {
        let mut state = self.state();
        let is_it = |now: &Trial| now.target.number == trial.target.number;
        if !state.trial.as_ref().is_some_and(is_it) {
            return None;
        }
        let back_to = state.settled.clone();
        self.swap(back_to.clone(), false);
        let rollback = Rollback {
            at: SystemTime::now(),
            from: trial.target.url.to_string(),
            to: back_to.to_string(),
            why,
        };
        state.settle(back_to);
        state.last_rollback = Some(rollback.clone());
        Some(rollback)
    }
}

/// How often exchanges with one target have failed lately: its sums at each look of the last ten seconds.
#[derive(Debug, Default)]
struct Window {
    /// The number of the target.
    of: u64,
    looks: VecDeque<(Instant, u64, u64)>,
}

impl Window {
    fn look(&mut self, target: &Target, now: Instant) -> Option<Why> {
        let (exchanges, failed) = target.tally();
        if self.of != target.number {
            self.of = target.number;
            self.looks.clear();
            self.looks.push_back((now, 0, 0));
        }
        while self.looks.len() > 1 && now.duration_since(self.looks[0].0) > WINDOW {
            self.looks.pop_front();
        }
        self.looks.push_back((now, exchanges, failed));
        let &(_, before, failed_before) = self.looks.front()?;
        let (exchanges, failed) = (exchanges - before, failed - failed_before);
        let is_enough = exchanges >= FEWEST && failed * 2 >= exchanges;
        is_enough.then_some(Why::Failures(failed, exchanges))
    }
}

const WINDOW: Duration = Duration::from_secs(10);
/// Fewer exchanges are no judgement.
const FEWEST: u64 = 5;
const LOOK: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::super::change::Change;
    use super::*;
    use crate::upstream::TargetUrl;

    fn target(number: u64) -> Target {
        Target::on_trial(number, TargetUrl::parse("http://127.0.0.1:1").unwrap())
    }

    fn count(target: &Target, well: usize, failed: usize) {
        (0..well).for_each(|_| target.count(false));
        (0..failed).for_each(|_| target.count(true));
    }

    /// Changes to a target that nobody is asked about, and the other way round.
    async fn on_trial(within: u64) -> Arc<Targets> {
        let configured = TargetUrl::parse("http://127.0.0.1:1").unwrap();
        let own = crate::upstream::OwnPorts::default();
        let targets = Targets::new(configured, own, false, false, WINDOW).unwrap();
        let change = Change {
            url: "http://127.0.0.1:2".to_owned(),
            probe: None,
            confirm_within: Some(Duration::from_secs(within)),
            is_dry: false,
        };
        let changed = targets.change(&change, |_| true).await.unwrap();
        assert_eq!(changed.from.to_string(), "http://127.0.0.1:1");
        Arc::new(targets)
    }

    fn watch_over(targets: &Arc<Targets>) -> tokio::task::JoinHandle<Infallible> {
        let targets = Arc::clone(targets);
        tokio::spawn(async move { targets.watch_over_trials(|_| {}).await })
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_ends_with_its_time_and_not_before() {
        let targets = on_trial(60).await;
        let watching = watch_over(&targets);
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert!(targets.has_drifted());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let standing = targets.standing();
        assert!(!targets.has_drifted() && standing.trial.is_none());
        assert_eq!(standing.last_rollback.unwrap().why, Why::Unconfirmed);
        watching.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_confirmed_stays_is_counted_no_more_and_keeps_its_connections() {
        let targets = on_trial(60).await;
        let watching = watch_over(&targets);
        let number = targets.current().number;
        targets.confirm(|_| true).unwrap();
        let target = targets.current();
        count(&target, 0, 100);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(targets.has_drifted() && targets.standing().last_rollback.is_none());
        assert_eq!((target.number, target.tally()), (number, (0, 0)));
        watching.abort();
    }

    #[test]
    fn half_of_at_least_five_exchanges_must_fail_within_the_window() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let (mut window, one) = (Window::default(), target(7));
        assert_eq!(window.look(&one, at(0)), None);
        count(&one, 0, 4);
        assert_eq!(window.look(&one, at(1)), None, "four are no judgement");
        count(&one, 5, 0);
        assert_eq!(window.look(&one, at(2)), None, "less than half");
        count(&one, 100, 0);
        assert_eq!(window.look(&one, at(14)), None);
        count(&one, 3, 3);
        assert_eq!(
            window.look(&one, at(26)),
            Some(Why::Failures(3, 6)),
            "what went well long ago does not count any more"
        );
        let other = target(8);
        assert_eq!(
            window.look(&other, at(27)),
            None,
            "another target begins anew"
        );
        count(&other, 0, 5);
        assert_eq!(window.look(&other, at(28)), Some(Why::Failures(5, 5)));
    }
}
