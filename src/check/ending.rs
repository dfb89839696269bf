//! How long an end takes, and whether the pod gives it that time.

use std::time::Duration;

use super::Remark;
use crate::config::Config;

/// Whether delay and timeout fit into the pod's grace period.
pub(super) fn of(config: &Config) -> Vec<Remark> {
    let takes = config.drain_delay + config.drain_timeout;
    let mut remarks = vec![Remark::Fact(format!(
        "after SIGTERM it accepts for {} (--drain-delay), then finishes for {} (--drain-timeout): {} at most",
        words(config.drain_delay),
        words(config.drain_timeout),
        words(takes)
    ))];
    // The last spans have a second of their own.
    let spans = Duration::from_secs(config.traces.is_some().into());
    remarks.push(fits(
        needed(config.drain_delay, config.drain_timeout) + spans,
        config.grace_period,
    ));
    remarks
}

/// What a drain needs of the pod's time: its two parts, and a second to close and to write what is left.
pub(crate) fn needed(delay: Duration, timeout: Duration) -> Duration {
    delay + timeout + Duration::from_secs(1)
}

fn fits(takes: Duration, grace: Option<Duration>) -> Remark {
    match grace {
        Some(grace) if takes <= grace => Remark::Fact(format!(
            "with the time to end in, that is inside the pod's grace period of {}",
            words(grace)
        )),
        Some(grace) => Remark::Warning(format!(
            "the pod's grace period of {} does not hold {}: the kubelet would kill the sidecar while it drains; set terminationGracePeriodSeconds to {} or more, or lower --drain-timeout",
            words(grace),
            words(takes),
            takes.as_secs()
        )),
        None if takes <= USUAL => Remark::Fact(format!(
            "the pod's grace period is not known here; Kubernetes' default of {} holds that",
            words(USUAL)
        )),
        None => Remark::Fact(format!(
            "the pod's grace period is not known here; Kubernetes' default of {} does not hold that: terminationGracePeriodSeconds has to be {} or more",
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
            (30, Some(30), false, "inside the pod's grace period of 30s"),
            (
                31,
                Some(30),
                true,
                "set terminationGracePeriodSeconds to 31 or more",
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
        let config = read("--drain-delay 3s --drain-timeout 1m");
        let Remark::Fact(words) = &of(&config)[0] else {
            panic!("a warning");
        };
        assert!(words.ends_with("1m 3s at most"), "{words}");
        let line = "--drain-delay 3s --drain-timeout 1m --grace-period 64";
        for (traces, is_warning) in [("", false), ("--trace-exporter otlp", true)] {
            let remarks = of(&read(&format!("{line} {traces}")));
            let warned = matches!(remarks[1], Remark::Warning(_));
            assert_eq!(warned, is_warning, "{remarks:?}");
        }
    }
}
