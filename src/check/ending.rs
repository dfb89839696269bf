//! How long an end takes, and whether the pod gives it that time.

use std::time::Duration;

use super::{Remark, said};
use crate::config::{self, Config, Raw};

/// Whether delay and timeout fit into the pod's grace period.
pub(super) fn of(config: &Config, raw: &Raw) -> Vec<Remark> {
    let takes = config.drain_delay + config.drain_timeout;
    let mut remarks = vec![Remark::Fact(format!(
        "after SIGTERM it accepts for {} (--drain-delay), then finishes for {} (--drain-timeout): {} at most",
        words(config.drain_delay),
        words(config.drain_timeout),
        words(takes)
    ))];
    remarks.push(fits(takes, grace_period(raw)));
    remarks
}

/// The place where `--grace-period` is read: a duration, or seconds as the pod has them.
fn grace_period(raw: &Raw) -> Option<Duration> {
    let text = said(raw, "grace-period")?;
    let seconds = text.parse().map(Duration::from_secs);
    seconds.ok().or_else(|| config::duration(&text).ok())
}

fn fits(takes: Duration, grace: Option<Duration>) -> Remark {
    match grace {
        Some(grace) if takes < grace => Remark::Fact(format!(
            "that is inside the pod's grace period of {}",
            words(grace)
        )),
        Some(grace) => Remark::Warning(format!(
            "the pod's grace period of {} does not hold {}: the kubelet would kill the sidecar while it drains; raise terminationGracePeriodSeconds above {}, or lower --drain-timeout",
            words(grace),
            words(takes),
            takes.as_secs()
        )),
        None if takes < USUAL => Remark::Fact(format!(
            "the pod's grace period is not known here; Kubernetes' default of {} holds that",
            words(USUAL)
        )),
        None => Remark::Fact(format!(
            "the pod's grace period is not known here; Kubernetes' default of {} does not hold that: terminationGracePeriodSeconds has to be above {}",
            words(USUAL),
            takes.as_secs()
        )),
    }
}

fn words(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Kubernetes' `terminationGracePeriodSeconds`, where nobody says otherwise.
const USUAL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn a_drain_that_does_not_fit_is_warned_of() {
        let seconds = Duration::from_secs;
        for (takes, grace, is_warning, part) in [
            (25, Some(30), false, "inside the pod's grace period of 30s"),
            (
                30,
                Some(30),
                true,
                "raise terminationGracePeriodSeconds above 30",
            ),
            (90, Some(60), true, "of 1m does not hold 1m 30s"),
            (25, None, false, "default of 30s holds that"),
            (60, None, false, "default of 30s does not hold that"),
        ] {
            let remark = fits(seconds(takes), grace.map(seconds));
            let (warned, words) = match &remark {
                Remark::Fact(words) => (false, words),
                Remark::Warning(words) => (true, words),
            };
            assert!(warned == is_warning && words.contains(part), "{remark:?}");
        }
    }

    #[test]
    fn the_end_is_told_as_it_is_configured() {
        let (config, raw) = read("--drain-delay 3s --drain-timeout 1m");
        let Remark::Fact(words) = &of(&config, &raw)[0] else {
            panic!("a warning");
        };
        assert!(words.ends_with("1m 3s at most"), "{words}");
    }
}
