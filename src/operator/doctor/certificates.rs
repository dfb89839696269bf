//! Judgements on certificates: what is served, what is on disk, how long it lasts, and whether a renewed one would be seen.

use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::finding::{Finding, State};
use super::text;

/// All of `GET /certs`.
pub(super) fn all(certificates: &Value, now: OffsetDateTime) -> Vec<Finding> {
    let parts = certificates["parts"].as_array().into_iter().flatten();
    parts.flat_map(|part| one(part, now)).collect()
}

/// What is wrong with one part, or that nothing is.
fn one(part: &Value, now: OffsetDateTime) -> Vec<Finding> {
    let mut findings: Vec<Finding> = [loaded(part), on_disk(part, now), seen(part)]
        .into_iter()
        .flatten()
        .collect();
    findings.extend(dated(part).filter_map(|(what, element)| date(part, what, element, now)));
    let warnings = part["warnings"].as_array().into_iter().flatten().map(text);
    // Of dates there was a word already.
    let surprising = warnings.filter(|words| !DATED.iter().any(|date| words.contains(date)));
    findings.extend(surprising.map(|words| surprise(part, words)));
    if findings.is_empty() {
        findings.push(State::Ok.of(check(part), well(part, now)));
    }
    findings
}

fn check(part: &Value) -> &'static str {
    match part["kind"].as_str() {
        Some("client_ca") => "client CA",
        Some("ticket_seed") => "ticket seed",
        _ => "certificate",
    }
}

fn loaded(part: &Value) -> Option<Finding> {
    let error = part["last_error"].as_str()?;
    let source = text(&part["source"]);
    let is_served = part["chain"]
        .as_array()
        .is_some_and(|chain| !chain.is_empty())
        || part["last_success"].is_string();
    let kept = if is_served {
        "what was loaded before is still in force"
    } else {
        "there is none"
    };
    let found = State::Problem.of(
        check(part),
        format!("{source}: not loaded, {kept}: {error}"),
    );
    Some(found.fix("mend the files; they are read again at once, and by: portcullis certs reload"))
}

/// A difference is usual for a moment.
fn on_disk(part: &Value, now: OffsetDateTime) -> Option<Finding> {
    let since = when(&part["disk_differs_since"])?;
    let is_old = now - since > SETTLED && part["last_error"].is_null();
    is_old.then(|| {
        let words = format!(
            "{}: what is on disk is not what is served, since {}",
            text(&part["source"]),
            text(&part["disk_differs_since"])
        );
        State::Warning
            .of(check(part), words)
            .fix("portcullis certs reload, which says why")
    })
}

/// What the sidecar found when it looked at itself as a client does.
fn seen(part: &Value) -> Option<Finding> {
    let source = text(&part["source"]);
    match part["seen"].as_str()? {
        "differs" => {
            let words = format!("{source}: clients are shown another certificate than was loaded");
            Some(State::Problem.of(check(part), words).fix(
                "let one part only have this name (SNI) and kind of key, and reload: portcullis certs reload",
            ))
        }
        "unverified" => {
            let words = format!("{source}: the sidecar could not look at what it serves");
            Some(State::Note.of(check(part), words))
        }
        _ => None,
    }
}

/// Everything that ends.
fn dated(part: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    let list = |name| part[name].as_array().into_iter().flatten();
    let kinds = std::iter::once("").chain(std::iter::repeat("intermediate "));
    let chain = kinds.zip(list("chain"));
    chain.chain(list("client_ca").map(|ca| (AUTHORITY, ca)))
}

fn date(part: &Value, what: &str, element: &Value, now: OffsetDateTime) -> Option<Finding> {
    let (begins, ends) = (when(&element["not_before"])?, when(&element["not_after"])?);
    let name = format!(
        "{}: {what}{}",
        text(&part["source"]),
        text(&element["subject"])
    );
    if begins > now {
        let words = format!(
            "{name} is valid only from {}, and the clock says {}",
            text(&element["not_before"]),
            now.format(&Rfc3339).unwrap_or_default()
        );
        return Some(
            State::Problem
                .of(check(part), words)
                .fix("set the node's clock, or wait; clients whose clock is right refuse this one"),
        );
    }
    let fix = if what == AUTHORITY {
        "put its successor into the bundle of client CAs, and remove it when its clients are to be refused"
    } else {
        "renew it (cert-manager: look at the Certificate's status), and see that the Secret is mounted as a folder"
    };
    let (left, life) = (ends - now, ends - begins);
    if left.is_negative() {
        let words = format!("{name} has ended on {}", text(&element["not_after"]));
        return Some(State::Problem.of(check(part), words).fix(fix));
    }
    (left < LATE.min(life / 4)).then(|| {
        let words = format!("{name} ends in {}", roughly(left));
        State::Warning.of(check(part), words).fix(fix)
    })
}

/// What the certificate room finds legal but surprising.
fn surprise(part: &Value, words: &str) -> Finding {
    // Of mounts it also says what to do.
    if let Some((words, fix)) = words.split_once("; ")
        && words.contains(" is mounted ")
    {
        return State::Problem.of("mount", words).fix(fix);
    }
    let fix = if words.contains("readable by every user") {
        "chmod 0600 it; in Kubernetes defaultMode: 0440 of the volume, with an fsGroup"
    } else if words.contains("CRL") {
        "let --client-crl have a CRL of each client CA that is not out of date"
    } else {
        "issue it anew without that; portcullis check shows all that is on disk"
    };
    let words = format!("{}: {words}", text(&part["source"]));
    State::Warning.of(check(part), words).fix(fix)
}

fn well(part: &Value, now: OffsetDateTime) -> String {
    let source = text(&part["source"]);
    let first = |name: &str| part[name].as_array().and_then(|list| list.first());
    let Some(element) = first("chain").or_else(|| first("client_ca")) else {
        return format!("{source}: loaded");
    };
    let left = when(&element["not_after"]).map(|ends| roughly(ends - now));
    format!(
        "{source}: {}, {} left, and on disk is what is served",
        text(&element["subject"]),
        left.unwrap_or_default()
    )
}

pub(super) fn when(date: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(date.as_str()?, &Rfc3339).ok()
}

/// In days; where there are few, in the two largest units.
fn roughly(left: time::Duration) -> String {
    if left >= time::Duration::days(3) {
        return format!("{} days", left.whole_days());
    }
    let left = Duration::from_secs(left.whole_seconds().unsigned_abs());
    let words = humantime::format_duration(left).to_string();
    let words: Vec<_> = words.split(' ').take(2).collect();
    words.join(" ")
}

const SETTLED: time::Duration = time::Duration::minutes(2);
/// Who renews in time does so earlier than that; what lives for a short time only is late with a quarter left.
const LATE: time::Duration = time::Duration::days(14);
const AUTHORITY: &str = "client CA ";
/// How warnings speak of dates.
const DATED: [&str; 2] = [" expired at ", " is not valid before "];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> OffsetDateTime {
        when(&json!("2026-11-27T12:00:00Z")).unwrap()
    }

    fn element(not_before: &str, not_after: &str) -> Value {
        json!({ "subject": "CN=shop", "not_before": not_before, "not_after": not_after })
    }

    /// A part as it should be, but for these fields.
    fn part(but: &Value) -> Value {
        let mut part = json!({
            "source": "/tls", "kind": "certificate",
            "chain": [element("2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z")],
            "disk_differs_since": null, "last_error": null, "seen": "served", "warnings": [],
        });
        for (name, value) in but.as_object().unwrap() {
            part[name] = value.clone();
        }
        part
    }

    fn found(but: &Value) -> Vec<Finding> {
        all(&json!({ "parts": [part(but)] }), now())
    }

    #[test]
    fn what_is_well_is_one_line() {
        let found = found(&json!({}));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].state, &*found[0].finding),
            (
                State::Ok,
                "/tls: CN=shop, 34 days left, and on disk is what is served"
            )
        );
    }

    #[test]
    fn each_trouble_has_its_state() {
        let chain = |from, to| json!({ "chain": [element(from, to)] });
        let intermediate = json!({ "chain": [
            element("2026-10-01T00:00:00Z", "2027-10-01T00:00:00Z"),
            element("2020-01-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        ] });
        let mount = "/tls/tls.crt is mounted with subPath: a renewed Secret never shows; mount the whole Secret";
        for (but, check, state, words) in [
            (
                chain("2026-01-01T00:00:00Z", "2026-12-05T00:00:00Z"),
                "certificate",
                State::Warning,
                "ends in 7 days",
            ),
            (
                chain("2026-01-01T00:00:00Z", "2026-11-27T11:59:59Z"),
                "certificate",
                State::Problem,
                "has ended",
            ),
            (
                chain("2026-11-28T00:00:00Z", "2027-11-27T00:00:00Z"),
                "certificate",
                State::Problem,
                "valid only from",
            ),
            // A day's certificate with three hours left.
            (
                chain("2026-11-26T15:00:00Z", "2026-11-27T15:00:00Z"),
                "certificate",
                State::Warning,
                "ends in 3h",
            ),
            (
                intermediate,
                "certificate",
                State::Problem,
                "intermediate CN=shop has ended",
            ),
            (
                json!({ "client_ca": [element("2020-01-01T00:00:00Z", "2026-12-01T00:00:00Z")] }),
                "certificate",
                State::Warning,
                "client CA CN=shop ends in",
            ),
            (
                json!({ "last_error": "no key", "disk_differs_since": "2026-11-27T11:00:00Z" }),
                "certificate",
                State::Problem,
                "still in force: no key",
            ),
            (
                json!({ "last_error": "no key", "chain": [] }),
                "certificate",
                State::Problem,
                "there is none: no key",
            ),
            (
                json!({ "disk_differs_since": "2026-11-27T11:00:00Z" }),
                "certificate",
                State::Warning,
                "not what is served",
            ),
            (
                json!({ "seen": "differs" }),
                "certificate",
                State::Problem,
                "another certificate",
            ),
            (
                json!({ "seen": "unverified" }),
                "certificate",
                State::Note,
                "could not look",
            ),
            (
                json!({ "warnings": ["the name a is lost"] }),
                "certificate",
                State::Warning,
                "the name a is lost",
            ),
            (
                json!({ "warnings": [mount] }),
                "mount",
                State::Problem,
                "is mounted with subPath",
            ),
        ] {
            let found = found(&but);
            assert_eq!(found.len(), 1, "{but}: {found:?}");
            assert_eq!((found[0].check, found[0].state), (check, state), "{but}");
            assert!(found[0].finding.contains(words), "{but}: {found:?}");
        }
    }

    #[test]
    fn what_is_usual_is_no_trouble() {
        for but in [
            // A day's certificate with half of its life left.
            json!({ "chain": [element("2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z")] }),
            json!({ "disk_differs_since": "2026-11-27T11:59:30Z" }),
            json!({ "seen": null }),
            json!({ "warnings": ["the client CA CN=x expired at 2020; remove it"] }),
            json!({ "kind": "ticket_seed", "chain": [] }),
        ] {
            let found = found(&but);
            assert_eq!((found.len(), found[0].state), (1, State::Ok), "{found:?}");
        }
    }
}
