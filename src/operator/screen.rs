//! The status on one screen. A sidecar of another version may say less: what is absent has no row.

use std::cmp::Reverse;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;

use super::rows::{self, Parts, text, texts};
use super::{certificates, target};
use crate::terminal::{Ink, duration, size};

/// The whole screen.
pub(super) fn draw(status: &Value, now: OffsetDateTime, colour: bool) -> Vec<u8> {
    let counts = &status["counts"];
    let rows = [("portcullis", heading(status))]
        .into_iter()
        .chain(notes("pending", &status["pending"], Ink::Red))
        .chain(notes("degraded", &status["degraded"], Ink::Yellow))
        .chain([("drain", drain(&status["drain"]))])
        .chain([("bypass", bypass(&status["bypass"]))])
        .chain([("restricted", restricted(&status["restrictions"]))])
        .chain(target::in_force(&status["target"]))
        .chain(certificates::rows(&status["certificate"], now))
        .chain([
            ("requests", requests(counts)),
            ("latency", latency(&counts["latency_ms"])),
            ("traffic", traffic(counts)),
            ("in flight", number(&counts["in_flight"])),
            ("connections", connections(counts)),
            ("handshakes", handshakes(counts)),
            ("traces", traces(&status["traces"])),
            ("log", log(counts)),
        ]);
    rows::draw(rows, colour)
}

/// `0.1.0, shop: ready, up 3days 4h`
pub(super) fn heading(status: &Value) -> Parts {
    let phase = text(&status["phase"]);
    let (ink, phase) = match (phase, status["ready"] == true) {
        ("ready", true) => (Ink::Green, phase.to_owned()),
        (_, true) => (Ink::Yellow, phase.to_owned()),
        ("ready", false) => (Ink::Red, "not ready".to_owned()),
        (_, false) => (Ink::Red, format!("{phase}, not ready")),
    };
    let names = format!(
        "{}, {}: ",
        text(&status["version"]),
        text(&status["service"])
    );
    let mut parts = vec![(Ink::Bold, names), (ink, phase)];
    if let Some(seconds) = status["uptime_s"].as_u64() {
        let uptime = humantime::format_duration(Duration::from_secs(seconds)).to_string();
        // The two largest units say enough.
        let uptime: Vec<&str> = uptime.split(' ').take(2).collect();
        parts.push((Ink::Plain, format!(", up {}", uptime.join(" "))));
    }
    parts
}

/// A row for each text of a list.
pub(super) fn notes<'a>(
    label: &'static str,
    list: &'a Value,
    ink: Ink,
) -> impl Iterator<Item = (&'static str, Parts)> + 'a {
    texts(list).map(move |note| (label, rows::one(ink, note)))
}

/// `finishing, 12 s left until what is open is cut`, or `over: 3 http1 drained, 1 upgraded cut`
pub(super) fn drain(drain: &Value) -> Parts {
    let Some(step) = drain["step"].as_str() else {
        return Parts::new();
    };
    let by_kind = |way: &str| {
        let kinds = drain[way].as_object().into_iter().flatten();
        kinds
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect::<Vec<_>>()
    };
    let (drained, cut) = (by_kind("drained"), by_kind("cut"));
    let mut parts = rows::one(Ink::Yellow, step);
    if let (Some(seconds), "announcing" | "finishing") = (drain["seconds_left"].as_u64(), step) {
        let words = format!(", {seconds} s left until what is open is cut");
        parts.push((Ink::Plain, words));
    }
    if !drained.is_empty() {
        parts.push((Ink::Plain, format!(", {} drained", drained.join(", "))));
    }
    if !cut.is_empty() {
        parts.push((Ink::Red, format!(", {} cut", cut.join(", "))));
    }
    parts
}

/// Where the application is reached without us.
fn bypass(bypass: &Value) -> Parts {
    let open: Vec<&str> = texts(&bypass["reachable_at"]).collect();
    if open.is_empty() {
        return Parts::new();
    }
    let words = format!(
        "the application's plain port is open at {}: clients can go round TLS and the records; bind the application to 127.0.0.1",
        open.join(", ")
    );
    rows::one(Ink::Red, words)
}

/// `no_new_privileges, not_dumpable, landlock; seccomp is off`
fn restricted(restrictions: &Value) -> Parts {
    let all = restrictions.as_array().into_iter().flatten();
    let (on, lacking): (Vec<_>, Vec<_>) = all.partition(|one| one["state"] == "on");
    let on: Vec<&str> = on.iter().map(|one| text(&one["name"])).collect();
    let on: Vec<String> = on.into_iter().map(str::to_owned).collect();
    let mut parts = plain(&on);
    for one in lacking {
        let apart = if parts.is_empty() { "" } else { "; " };
        let words = format!("{apart}{} is {}", text(&one["name"]), text(&one["state"]));
        parts.push((Ink::Yellow, words));
    }
    parts
}

/// `12345, 17 failed: upstream_refused 10, client_gone 7`
fn requests(counts: &Value) -> Parts {
    let mut parts = number(&counts["requests"]);
    if let Some(failed @ 1..) = counts["requests_failed"].as_u64() {
        parts.push((Ink::Red, format!(", {failed} failed")));
        let reasons = counts["failed_by_reason"].as_object().into_iter().flatten();
        let mut reasons: Vec<(&str, u64)> = reasons
            .filter_map(|(reason, count)| Some((reason.as_str(), count.as_u64()?)))
            .collect();
        reasons.sort_by_key(|(_, count)| Reverse(*count));
        reasons.truncate(MOST_REASONS);
        let reasons: Vec<String> = reasons
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        if !reasons.is_empty() {
            parts.push((Ink::Plain, format!(": {}", reasons.join(", "))));
        }
    }
    parts
}

/// `p50 1.20 ms, p90 3.40 ms, p99 20.1 ms`
fn latency(latency: &Value) -> Parts {
    let known = ["p50", "p90", "p99"].map(|name| Some((name, latency[name].as_f64()?)));
    let known = known.into_iter().flatten();
    let texts: Vec<String> = known
        .map(|(name, ms)| format!("{name} {}", duration(ms)))
        .collect();
    plain(&texts)
}

fn traffic(counts: &Value) -> Parts {
    let ways = [("request_bytes", "in"), ("response_bytes", "out")];
    let known = ways.map(|(name, way)| Some((counts[name].as_u64()?, way)));
    let known = known.into_iter().flatten();
    let texts: Vec<String> = known
        .map(|(bytes, way)| format!("{} {way}", size(bytes)))
        .collect();
    plain(&texts)
}

fn connections(counts: &Value) -> Parts {
    let clients = counted(&counts["connections"], &["open", "idle", "handshake"]);
    let upstream = counted(&counts["upstream_connections"], &["active", "idle"]);
    let mut parts = plain(&clients);
    if !upstream.is_empty() {
        let apart = if clients.is_empty() { "" } else { "; " };
        let upstream = format!("{apart}upstream: {}", upstream.join(", "));
        parts.push((Ink::Plain, upstream));
    }
    parts
}

fn handshakes(counts: &Value) -> Parts {
    let mut parts = number(&counts["handshakes"]);
    if let Some(failed @ 1..) = counts["handshakes_failed"].as_u64() {
        parts.push((Ink::Yellow, format!(", {failed} failed")));
    }
    parts
}

/// `10 spans to http://127.0.0.1:4318/v1/traces (otlp), 2 dropped`
fn traces(traces: &Value) -> Parts {
    let Some(exported) = traces["spans"]["exported"].as_u64() else {
        return Parts::new();
    };
    let (endpoint, exporter) = (text(&traces["endpoint"]), text(&traces["exporter"]));
    let taken = format!("{exported} spans to {endpoint} ({exporter})");
    let mut parts = vec![(Ink::Plain, taken)];
    let mut lost = counted(&traces["spans"], &["dropped", "failed", "rejected"]);
    lost.retain(|count| !count.starts_with("0 "));
    if !lost.is_empty() {
        parts.push((Ink::Red, format!(", {}", lost.join(", "))));
    }
    parts
}

fn log(counts: &Value) -> Parts {
    let dropped = &counts["log_dropped"];
    let mut classes = counted(dropped, &["success", "error", "audit"]);
    if classes.is_empty() {
        return Parts::new();
    }
    classes.retain(|class| !class.starts_with("0 "));
    let mut parts = vec![if classes.is_empty() {
        (Ink::Plain, "nothing dropped".to_owned())
    } else {
        (Ink::Red, format!("{} dropped", classes.join(", ")))
    }];
    if let Some(sampled @ 1..) = counts["log_sampled_out"].as_u64() {
        parts.push((Ink::Plain, format!(", {sampled} sampled out")));
    }
    parts
}

/// `3 open`, `2 idle`: those that are known, by name.
fn counted(counts: &Value, names: &[&str]) -> Vec<String> {
    let known = names
        .iter()
        .filter_map(|name| Some((counts[*name].as_u64()?, name)));
    known
        .map(|(count, name)| format!("{count} {name}"))
        .collect()
}

fn number(count: &Value) -> Parts {
    count
        .as_u64()
        .map(|count| (Ink::Plain, count.to_string()))
        .into_iter()
        .collect()
}

fn plain(texts: &[String]) -> Parts {
    if texts.is_empty() {
        return Parts::new();
    }
    vec![(Ink::Plain, texts.join(", "))]
}

/// Reasons shown of those that requests failed for.
const MOST_REASONS: usize = 5;

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    fn drawn(status: &Value, colour: bool) -> String {
        let now = OffsetDateTime::parse("2026-11-23T00:00:00Z", &Rfc3339).unwrap();
        String::from_utf8(draw(status, now, colour)).unwrap()
    }

    #[test]
    fn the_numbers_that_matter_stand_on_one_screen() {
        let status = json!({
            "version": "0.1.0", "service": "shop", "phase": "ready", "ready": true, "pending": [],
            "degraded": ["tls: the certificate on disk cannot be read"], "uptime_s": 273_845, "workers": 2,
            "target": {
                "url": "http://localhost:8081", "configured": "http://127.0.0.1:8080", "drift": true, "answers_at": "[::1]:8081",
            },
            "certificate": {"generation": 2, "parts": [
                {"kind": "certificate", "source": "/a", "names": ["DNS:a", "DNS:b", "DNS:c", "DNS:d", "DNS:e"],
                    "not_after": "2027-02-20T12:00:00Z"},
                {"kind": "client_ca", "source": "/ca", "names": [], "not_after": null},
                {"kind": "certificate", "source": "/b", "names": ["DNS:f"], "not_after": "2026-12-06T23:59:59Z",
                    "disk_differs_since": "2026-11-22T00:00:00Z", "last_error": "the key does not fit"},
                {"kind": "certificate", "source": "/c", "names": ["DNS:g"], "not_after": "2026-11-21T00:00:00Z"},
                {"kind": "certificate", "source": "/d", "names": [], "not_after": null},
            ]},
            "counts": {
                "requests": 12345, "requests_failed": 29, "in_flight": 2, "request_bytes": 0, "response_bytes": 5_000_000,
                "failed_by_reason": {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 14},
                "latency_ms": {"p50": 1.2, "p90": 13.4, "p99": 2000},
                "connections": {"handshake": 1, "open": 3, "idle": 2}, "upstream_connections": {"active": 1, "idle": 4},
                "handshakes": 1234, "handshakes_failed": 3,
                "log_dropped": {"success": 10, "error": 2, "audit": 0}, "log_sampled_out": 100,
            },
            "traces": {
                "exporter": "otlp", "endpoint": "http://127.0.0.1:4318/v1/traces",
                "spans": {"exported": 10, "dropped": 2, "failed": 0, "rejected": 1},
            },
        });
        assert_eq!(
            drawn(&status, false),
            "\
portcullis   0.1.0, shop: ready, up 3days 4h
degraded     tls: the certificate on disk cannot be read
target       http://localhost:8081 (answers at [::1]:8081)  drift: configured is http://127.0.0.1:8080
certificate  DNS:a, DNS:b, DNS:c and 2 more: 89 days left
certificate  DNS:f: 13 days left; another is on disk since 2026-11-22T00:00:00Z; the last reload failed: the key does not fit
certificate  DNS:g: expired 2 days ago
certificate  /d: none is served
requests     12345, 29 failed: f 14, e 5, d 4, c 3, b 2
latency      p50 1.20 ms, p90 13.4 ms, p99 2.00 s
traffic      0 B in, 4.8 MiB out
in flight    2
connections  3 open, 2 idle, 1 handshake; upstream: 1 active, 4 idle
handshakes   1234, 3 failed
traces       10 spans to http://127.0.0.1:4318/v1/traces (otlp), 2 dropped, 1 rejected
log          10 success, 2 error dropped, 100 sampled out
"
        );
        let coloured = drawn(&status, true);
        for text in [
            "\x1b[31m: 13 days left\x1b[0m",
            "\x1b[32m: 89 days left\x1b[0m",
            "\x1b[32mready\x1b[0m",
        ] {
            assert!(coloured.contains(text), "{coloured:?}");
        }
    }

    #[test]
    fn what_is_absent_has_no_row() {
        let idle = json!({
            "bypass": {"port": 8080, "reachable_at": []},
            "version": "0.1.0", "service": "shop", "phase": "starting", "ready": false, "pending": ["no certificate yet"],
            "counts": {
                "requests": 0, "requests_failed": 0, "latency_ms": null,
                "log_dropped": {"success": 0, "error": 0, "audit": 0}, "log_sampled_out": 0,
            },
        });
        assert_eq!(
            drawn(&idle, false),
            "\
portcullis   0.1.0, shop: starting, not ready
pending      no certificate yet
requests     0
log          nothing dropped
"
        );
        assert_eq!(
            drawn(&json!({}), false),
            "portcullis   -, -: -, not ready\n"
        );
        for odd in [
            json!({"counts": 1, "target": [], "certificate": {"parts": [1]}, "pending": "x"}),
            json!({"pending": [1]}),
        ] {
            drawn(&odd, false);
        }
    }

    #[test]
    fn a_drain_and_what_is_not_restricted_are_seen() {
        let status = json!({
            "version": "1", "service": "shop", "phase": "draining", "ready": false,
            "drain": { "step": "finishing", "seconds_left": 12 },
            "restrictions": [
                { "name": "seccomp", "state": "on" },
                { "name": "landlock", "state": "unavailable" },
            ],
        });
        assert_eq!(
            drawn(&status, false),
            "portcullis   1, shop: draining, not ready\n\
             drain        finishing, 12 s left until what is open is cut\n\
             restricted   seccomp; landlock is unavailable\n"
        );
        let over = json!({
            "step": "over", "seconds_left": 0,
            "drained": { "http1": 3 }, "cut": { "upgraded": 1 },
        });
        let words: String = drain(&over).into_iter().map(|(_, text)| text).collect();
        assert_eq!(words, "over, 3 http1 drained, 1 upgraded cut");
    }

    #[test]
    fn what_goes_round_the_sidecar_and_what_waits_for_an_answer_is_seen_at_once() {
        let status = json!({
            "service": "shop", "version": "1", "phase": "ready", "ready": true,
            "bypass": {"port": 8080, "reachable_at": ["0.0.0.0:8080", "[::]:8080"]},
            "target": {
                "url": "http://127.0.0.1:8081", "configured": "http://127.0.0.1:8080", "drift": true,
                "trial": {"seconds_left": 57, "returns_to": "http://127.0.0.1:8080", "exchanges": 12, "failed": 1},
            },
        });
        assert_eq!(
            drawn(&status, false),
            "\
portcullis   1, shop: ready
bypass       the application's plain port is open at 0.0.0.0:8080, [::]:8080: clients can go round TLS and the records; bind the application to 127.0.0.1
target       http://127.0.0.1:8081  drift: configured is http://127.0.0.1:8080
trial        57 s left to confirm it, or requests go to http://127.0.0.1:8080 again; 12 exchanges, 1 failed
"
        );
    }

    #[test]
    fn no_name_is_obeyed_by_a_terminal() {
        let status = json!({
            "service": "a\u{1b}[2J", "pending": ["b\n\u{9b}"], "target": {"url": "c\r"},
            "certificate": {"parts": [{"kind": "certificate", "names": ["\u{202e}d"]}]},
        });
        let text = drawn(&status, false);
        assert_eq!(text.lines().count(), 4, "{text:?}");
        for escaped in [r"a\x1b[2J", r"b\x0a\u{9b}", r"c\x0d", r"\u{202e}d"] {
            assert!(text.contains(escaped), "{text:?}");
        }
    }
}
