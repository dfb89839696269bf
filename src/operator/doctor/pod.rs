//! Judgements on what the pod gives: time to drain in, and the time of day.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::finding::{Finding, State};

/// Whether a drain ends before the kubelet loses its patience.
pub(super) fn drain(needed: Duration, grace: Option<Duration>) -> Finding {
    let takes = format!(
        "a drain takes up to {needed:?} (--drain-delay, --drain-timeout, and a second or two for what is left)"
    );
    let seconds = needed.as_secs_f64().ceil();
    match grace {
        Some(grace) if needed > grace => {
            let words = format!("{takes}, and the pod is killed after {grace:?}");
            State::Problem.of("drain", words).fix(format!(
                "set the pod's terminationGracePeriodSeconds to {seconds} or more, or shorten --drain-timeout"
            ))
        }
        Some(grace) => State::Ok.of(
            "drain",
            format!("{takes}, within the {grace:?} that the pod has"),
        ),
        None if needed > USUAL => {
            let words = format!(
                "{takes}; how long the pod has is not known, {USUAL:?} where nothing is set"
            );
            State::Warning.of("drain", words).fix(format!(
                "set the pod's terminationGracePeriodSeconds to {seconds} or more, and PORTCULLIS_GRACE_PERIOD to the same"
            ))
        }
        None => {
            let words = format!(
                "{takes}; how long the pod has is not known, {USUAL:?} where nothing is set"
            );
            State::Note
                .of("drain", words)
                .fix("set PORTCULLIS_GRACE_PERIOD to the pod's terminationGracePeriodSeconds")
        }
    }
}

/// Whether the clock can be right: what was before is not after now.
pub(super) fn clock(now: OffsetDateTime, certificate_since: Option<OffsetDateTime>) -> Finding {
    let shown = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339);
    let shown = shown.unwrap_or_default();
    let wrong = |why: &str| {
        State::Problem
            .of("clock", format!("it says {shown}, {why}"))
            .fix("set the node's clock (chrony, systemd-timesyncd); certificates and CRLs are judged by it")
    };
    match certificate_since {
        _ if now.unix_timestamp() < RELEASED => wrong("which is before this version was made"),
        Some(since) if since > now + TOLERATED => {
            wrong("which is before the certificate served was loaded: it was set back")
        }
        _ => State::Ok.of("clock", format!("it says {shown}")),
    }
}

/// What Kubernetes gives a pod that says nothing.
const USUAL: Duration = Duration::from_secs(30);
/// Nobody has run this version before.
const RELEASED: i64 = 1_793_491_200; // 2026-11-01
const TOLERATED: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_needs_its_time() {
        let s = Duration::from_secs;
        for (takes, grace, state) in [
            (26, Some(26), State::Ok),
            (26, Some(25), State::Problem),
            (26, None, State::Note),
            (30, None, State::Note),
            (31, None, State::Warning),
            (301, Some(30), State::Problem),
        ] {
            let found = drain(s(takes), grace.map(s));
            assert_eq!(found.state, state, "{takes} {grace:?}");
        }
        let found = drain(s(66), Some(s(30)));
        assert!(
            found
                .fix
                .unwrap()
                .contains("terminationGracePeriodSeconds to 66")
        );
    }

    #[test]
    fn a_clock_before_what_has_been_is_wrong() {
        let now = OffsetDateTime::from_unix_timestamp(RELEASED).unwrap();
        let hour = time::Duration::HOUR;
        for (now, since, state) in [
            (now, None, State::Ok),
            (now, Some(now - hour), State::Ok),
            (now, Some(now + hour), State::Problem),
            (OffsetDateTime::UNIX_EPOCH, None, State::Problem),
        ] {
            assert_eq!(clock(now, since).state, state, "{now} {since:?}");
        }
    }
}
