//! The look as a continuous one: what was found last, and a word in the log whenever that changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::{Finding, look};
use crate::upstream::{Target, Targets};

/// Looks again and again, and knows what was found last.
#[derive(Debug)]
pub(crate) struct Guard {
    targets: Arc<Targets>,
    last: ArcSwapOption<Look>,
    wanted: Notify,
}

#[derive(Debug)]
struct Look {
    /// The number of the target that it was for.
    target: u64,
    finding: Finding,
}

impl Guard {
    /// One that has not looked yet.
    pub(crate) fn new(targets: Arc<Targets>) -> Self {
        Self {
            targets,
            last: ArcSwapOption::empty(),
            wanted: Notify::new(),
        }
    }

    /// What was found of the target in force; none when it has not been looked at yet.
    pub(crate) fn finding(&self) -> Option<Finding> {
        let last = self.last.load();
        let last = last.as_ref()?;
        let is_current = last.target == self.targets.current().number;
        is_current.then(|| last.finding.clone())
    }

    /// Looks as soon as it can.
    pub(crate) fn look_now(&self) {
        self.wanted.notify_one();
    }

    /// Looks for as long as it is polled.
    pub(crate) async fn keep(&self) -> Infallible {
        loop {
            let (target, own) = (self.targets.current(), self.targets.own());
            let (number, begun) = (target.number, Instant::now());
            let looked = tokio::task::spawn_blocking({
                let target = Arc::clone(&target);
                move || look(&target.url, &own)
            });
            // Only a runtime that is going down does not look.
            if let Ok(finding) = looked.await {
                self.found(&target, finding);
            }
            self.rest(number, begun.elapsed()).await;
        }
    }

    fn found(&self, target: &Target, finding: Finding) {
        let before = self.last.load();
        let before = before.as_ref().map(|look| &look.finding);
        if before != Some(&finding) {
            tell(before, &finding, target);
        }
        self.last.store(Some(Arc::new(Look {
            target: target.number,
            finding,
        })));
    }

    /// Until it is time, there is another target, or somebody wants to know.
    async fn rest(&self, number: u64, took: Duration) {
        let last = self.last.load_full();
        let is_wrong = last.is_some_and(|look| look.finding.trouble().is_some());
        let end = Instant::now() + pause(is_wrong, took);
        while Instant::now() < end && self.targets.current().number == number {
            tokio::select! {
                () = sleep(TICK) => {}
                () = self.wanted.notified() => return,
            }
        }
    }
}

fn tell(before: Option<&Finding>, now: &Finding, target: &Target) {
    let was_wrong = before.and_then(Finding::trouble).is_some();
    match (now.trouble(), now.fix()) {
        (Some(trouble), fix) => {
            let fix = fix.unwrap_or_default();
            tracing::warn!(target_url = %target.url, fix, "{trouble}");
        }
        (None, _) if was_wrong => {
            tracing::info!(target_url = %target.url, "the application cannot be reached past the sidecar any more");
        }
        (None, _) => {}
    }
}

/// Who mends something wants to see it. However many connections there are to be listed, a look has a hundredth of the time.
fn pause(is_wrong: bool, took: Duration) -> Duration {
    let pause = if is_wrong { TICK } else { PAUSE };
    pause.max(took * 100)
}

const TICK: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_has_a_hundredth_of_the_time() {
        let ms = Duration::from_millis;
        assert_eq!(pause(false, ms(1)), ms(10_000));
        assert_eq!(pause(true, ms(1)), ms(1000));
        assert_eq!(pause(true, ms(30)), ms(3000));
        assert_eq!(pause(false, ms(300)), ms(30_000));
    }
}
