//! Judgements on the sidecar itself: its admin plane, whether it is ready, and where it sends requests.

use std::net::SocketAddr;

use serde_json::Value;

use super::finding::{Finding, State};
use super::text;
use crate::upstream::TargetUrl;

/// What became of the question for the status.
pub(super) fn answers(admin: &str, status: &Result<Value, String>) -> Finding {
    match status {
        Ok(_) => State::Ok.of("admin plane", format!("it answers at {admin}")),
        Err(why) => State::Problem.of("admin plane", why).fix(
            "run this in the sidecar's own container, and give --admin and --admin-token-file, or PORTCULLIS_ADMIN and PORTCULLIS_ADMIN_TOKEN_FILE, as the sidecar has them",
        ),
    }
}

/// Who can reach the admin plane. What is no address is a Unix socket.
pub(super) fn is_kept_inside(admin: Option<SocketAddr>) -> Option<Finding> {
    let admin = admin.filter(|admin| !admin.ip().to_canonical().is_loopback())?;
    let warning = format!(
        "the admin plane listens at {admin}, which others can reach, with a token over TLS"
    );
    Some(State::Note.of("admin plane", warning).fix(format!(
        "use --admin 127.0.0.1:{} and `kubectl exec` or `kubectl port-forward`",
        admin.port()
    )))
}

/// Whether it serves.
pub(super) fn readiness(status: &Value) -> Finding {
    let who = format!(
        "portcullis {}, {}",
        text(&status["version"]),
        text(&status["service"])
    );
    let phase = text(&status["phase"]);
    let pending = status["pending"].as_array().into_iter().flatten();
    let pending: Vec<&str> = pending.map(text).collect();
    match (status["ready"] == true, phase) {
        (true, _) => State::Ok.of("sidecar", format!("{who}: ready")),
        (false, "draining" | "stopped") => {
            State::Note.of("sidecar", format!("{who}: {phase}, as it was told to"))
        }
        (false, _) => State::Problem
            .of(
                "sidecar",
                format!("{who}: not ready: {}", pending.join("; ")),
            )
            .fix("what is pending names its remedy; `portcullis status` shows more"),
    }
}

/// Where requests go, and for how long.
pub(super) fn target(target: &Value) -> Vec<Finding> {
    let (url, configured) = (text(&target["url"]), text(&target["configured"]));
    let mut findings = Vec::new();
    if let Some(trial) = target["trial"].as_object() {
        let left = trial.get("seconds_left").and_then(Value::as_u64);
        let back = trial.get("returns_to").map(text).unwrap_or_default();
        let words = format!(
            "{url} is on trial: in {} s it goes back to {back}",
            left.unwrap_or_default()
        );
        findings.push(
            State::Warning
                .of("target", words)
                .fix("portcullis target confirm"),
        );
    } else if target["drift"] == true {
        let words =
            format!("requests go to {url}, changed at run time; a restart returns to {configured}");
        let fix =
            format!("set --target {url} where it is configured, or: portcullis target revert");
        findings.push(State::Warning.of("target", words).fix(fix));
    } else {
        findings.push(State::Ok.of("target", format!("{url}, as configured")));
    }
    if let Some(rollback) = target["last_rollback"].as_object() {
        let word = |name| rollback.get(name).map(text).unwrap_or_default();
        let words = format!(
            "the change to {} was taken back at {}: {}",
            word("from"),
            word("time"),
            word("detail")
        );
        findings.push(State::Note.of("target", words));
    }
    if TargetUrl::parse(url).is_ok_and(|url| !url.is_local()) {
        let words = format!("{url} is not on the loopback: plain HTTP leaves the pod");
        let fix = "put the sidecar beside the application, and use a target on 127.0.0.1";
        findings.push(State::Warning.of("target", words).fix(fix));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_an_admin_plane_off_the_loopback_is_worth_a_word() {
        for inside in ["127.0.0.1:9901", "[::1]:9901", "[::ffff:127.0.0.1]:9901"] {
            assert_eq!(is_kept_inside(Some(inside.parse().unwrap())), None);
        }
        assert_eq!(is_kept_inside(None), None);
        let found = is_kept_inside(Some("0.0.0.0:9901".parse().unwrap())).unwrap();
        assert_eq!(found.state, State::Note);
    }

    #[test]
    fn who_is_not_ready_and_not_going_has_a_problem() {
        let status = |phase: &str, ready: bool| json!({ "version": "1", "service": "shop", "phase": phase, "ready": ready, "pending": ["a", "b"] });
        for (phase, ready, state) in [
            ("ready", true, State::Ok),
            ("starting", false, State::Problem),
            ("ready", false, State::Problem),
            ("draining", false, State::Note),
        ] {
            let found = readiness(&status(phase, ready));
            assert_eq!(found.state, state, "{phase} {ready}");
        }
        let found = readiness(&status("starting", false));
        assert_eq!(found.finding, "portcullis 1, shop: not ready: a; b");
    }

    #[test]
    fn a_target_is_as_configured_or_drifts_or_is_on_trial() {
        let (here, there) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        for (view, states) in [
            (
                json!({ "url": here, "configured": here, "drift": false }),
                vec![State::Ok],
            ),
            (
                json!({ "url": there, "configured": here, "drift": true }),
                vec![State::Warning],
            ),
            (
                json!({ "url": there, "configured": here, "drift": true,
                    "trial": { "seconds_left": 57, "returns_to": here } }),
                vec![State::Warning],
            ),
            (
                json!({ "url": "http://10.1.2.3:80", "configured": "http://10.1.2.3:80", "drift": false }),
                vec![State::Ok, State::Warning],
            ),
        ] {
            let found: Vec<_> = target(&view).iter().map(|found| found.state).collect();
            assert_eq!(found, states, "{view}");
        }
        let back = json!({ "url": here, "configured": here, "drift": false,
            "last_rollback": { "time": "then", "from": there, "to": here, "detail": "nobody confirmed" } });
        let back = &target(&back)[1];
        assert_eq!(
            (back.state, &*back.finding),
            (
                State::Note,
                "the change to http://127.0.0.1:2 was taken back at then: nobody confirmed"
            )
        );
        let trial = json!({ "url": there, "drift": true, "trial": { "seconds_left": 57, "returns_to": here } });
        assert!(
            target(&trial)[0]
                .finding
                .contains("in 57 s it goes back to http://127.0.0.1:1")
        );
    }

    #[test]
    fn an_admin_plane_that_does_not_answer_is_a_problem() {
        let found = answers(
            "127.0.0.1:1",
            &Err("no admin plane at 127.0.0.1:1".to_owned()),
        );
        assert_eq!(found.state, State::Problem);
        assert!(found.fix.is_some());
    }
}
