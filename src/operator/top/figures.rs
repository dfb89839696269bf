//! The upper part of the screen: what is going on, in rows of a label and its numbers.

use std::time::Duration;

use time::OffsetDateTime;

use super::super::rows::{Parts, one};
use super::super::{certificates, screen, target};
use super::counters::Buckets;
use super::model::{Model, Span};
use super::text::{grouped, rate};
use crate::terminal::{Ink, duration, size};

/// A label, and what it is about.
pub(super) type Row = (&'static str, Parts);

/// Version, service, phase, uptime and target; or since when nothing is heard.
pub(super) fn heading(model: &Model) -> Parts {
    let mut parts = vec![(Ink::Bold, "portcullis ".to_owned())];
    parts.extend(screen::heading(&model.status));
    if let Some((since, _)) = &model.lost {
        // What it was is not what it is.
        parts.truncate(2);
        parts.push((Ink::Red, format!("not reachable since {}", clock(*since))));
        return parts;
    }
    if let Some(url) = model.status["target"]["url"].as_str() {
        parts.push((Ink::Faint, "  → ".to_owned()));
        parts.push((Ink::Cyan, url.to_owned()));
    }
    parts
}

/// What needs to be looked at, the worst first.
pub(super) fn notes(model: &Model, now: OffsetDateTime) -> Vec<Row> {
    let status = &model.status;
    if let Some((_, why)) = &model.lost {
        return vec![("trying again", one(Ink::Red, why))];
    }
    let mut rows: Vec<Row> = screen::notes("pending", &status["pending"], Ink::Red)
        .chain([("drain", screen::drain(&status["drain"]))])
        .chain([("restarted", restarted(model, now))])
        .chain(screen::notes("degraded", &status["degraded"], Ink::Yellow))
        .collect();
    if status["target"]["drift"] == true {
        rows.extend(target::in_force(&status["target"]));
    }
    if let Some(why) = &model.no_records {
        rows.push(("no records", one(Ink::Yellow, why)));
    }
    rows.retain(|(_, parts)| !parts.is_empty());
    rows
}

fn restarted(model: &Model, now: OffsetDateTime) -> Parts {
    let news = model.restarted.filter(|at| now - *at < NEWS);
    news.map_or_else(Parts::new, |at| {
        let words = format!("another process answers since {}", clock(at));
        one(Ink::Yellow, words)
    })
}

/// What is always there.
pub(super) fn figures(model: &Model) -> Vec<Row> {
    let (last, recent) = (model.last(), model.recent());
    vec![
        (
            "requests",
            one(Ink::Bold, rate(last.rate(last.more.requests()))),
        ),
        ("answers", answers(&recent)),
        ("failed", failed(&recent)),
        ("latency", latency(&recent.more.took)),
        ("application", latency(&recent.more.app)),
        ("traffic", traffic(model, &recent)),
        ("connections", connections(model)),
        ("handshakes", handshakes(&recent)),
    ]
}

/// A row for each certificate.
pub(super) fn certificates(model: &Model, now: OffsetDateTime) -> Vec<Row> {
    certificates::rows(&model.status["certificate"], now).collect()
}

/// `2xx 1,200/s  3xx 0/s  4xx 12/s  5xx 3/s  none 0/s`
fn answers(recent: &Span) -> Parts {
    let [none, interim, ok, redirect, refused, broken] = recent.more.classes;
    let known = [
        (Ink::Green, "2xx", ok),
        (Ink::Cyan, "3xx", redirect),
        (Ink::Yellow, "4xx", refused),
        (Ink::Red, "5xx", broken),
        (Ink::Yellow, "none", none),
        (Ink::Plain, "1xx", interim),
    ];
    let mut parts = Parts::new();
    for (ink, class, count) in known {
        if class == "1xx" && count == 0.0 {
            continue;
        }
        let (ink, apart) = (
            if count > 0.0 { ink } else { Ink::Faint },
            if parts.is_empty() { "" } else { "  " },
        );
        parts.push((ink, format!("{apart}{class} {}", rate(recent.rate(count)))));
    }
    parts
}

/// `3.2/s: upstream_refused 2.1/s, client_gone 1.1/s; 3 requests sent again`
fn failed(recent: &Span) -> Parts {
    let mut reasons: Vec<(&String, f64)> = recent
        .more
        .failures
        .iter()
        .map(|(reason, count)| (reason, *count))
        .filter(|(_, count)| *count > 0.0)
        .collect();
    if reasons.is_empty() {
        let mut parts = one(Ink::Faint, "none");
        parts.extend(trouble(recent));
        return parts;
    }
    let all: f64 = reasons.iter().map(|(_, count)| count).sum();
    // Those that are alike stay in the order of their names.
    reasons.sort_by(|a, b| b.1.total_cmp(&a.1));
    let reasons: Vec<String> = reasons
        .iter()
        .map(|(reason, count)| format!("{reason} {}", rate(recent.rate(*count))))
        .collect();
    let mut parts = vec![
        (Ink::Red, rate(recent.rate(all))),
        (Ink::Plain, format!(": {}", reasons.join(", "))),
    ];
    parts.extend(trouble(recent));
    parts
}

/// `p50 1.20 ms  p90 3.40 ms  p99 20.1 ms`
fn latency(took: &Buckets) -> Parts {
    let known = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)]
        .map(|(name, share)| Some((name, took.quantile(share)?)));
    let mut parts = Parts::new();
    for (name, seconds) in known.into_iter().flatten() {
        let apart = if parts.is_empty() { "" } else { "   " };
        parts.push((Ink::Faint, format!("{apart}{name} ")));
        parts.push((Ink::Plain, duration(seconds * 1e3)));
    }
    if parts.is_empty() {
        parts = one(Ink::Faint, "no requests");
    }
    parts
}

/// `1.2 MiB/s in, 30 MiB/s out, 12 requests in flight`
fn traffic(model: &Model, recent: &Span) -> Parts {
    let bytes = |count| size(recent.rate(count) as u64);
    let words = format!(
        "{}/s in, {}/s out, {} in flight",
        bytes(recent.more.bytes_in),
        bytes(recent.more.bytes_out),
        grouped(model.gauges.in_flight as u64)
    );
    one(Ink::Plain, words)
}

/// `40 active, 12 idle, 0 in handshake; application: 8 active, 4 idle`
fn connections(model: &Model) -> Parts {
    let now = &model.gauges;
    let [active, idle, handshaking, app_active, app_idle] = [
        now.active,
        now.idle,
        now.handshaking,
        now.app_active,
        now.app_idle,
    ]
    .map(|count| grouped(count as u64));
    let words = format!(
        "{active} active, {idle} idle, {handshaking} in handshake; application: {app_active} active, {app_idle} idle"
    );
    one(Ink::Plain, words)
}

/// `12/s, 40 % resumed, 3/s failed`
fn handshakes(recent: &Span) -> Parts {
    let more = &recent.more;
    let mut parts = one(Ink::Plain, rate(recent.rate(more.handshakes)));
    if more.handshakes_resumed > 0.0 {
        let share = more.handshakes_resumed / more.handshakes;
        parts.push((Ink::Plain, format!(", {:.0} % resumed", share * 100.0)));
    }
    if more.handshakes_failed > 0.0 {
        let failed = rate(recent.rate(more.handshakes_failed));
        parts.push((Ink::Yellow, format!(", {failed} failed")));
    }
    parts
}

/// What else is not as it should be, counted: nothing of it fails a request by itself.
fn trouble(recent: &Span) -> Parts {
    let more = &recent.more;
    let known = [
        (more.panics, "defects, see the sidecar's log"),
        (more.dropped, "record lines dropped"),
        (more.refused, "connections refused"),
        (more.retries, "requests sent again"),
    ];
    let known = known.into_iter().filter(|(count, _)| *count > 0.0);
    known
        .map(|(count, words)| (Ink::Yellow, format!("; {} {words}", grouped(count as u64))))
        .collect()
}

/// Hours, minutes and seconds, UTC as in the records.
pub(super) fn clock(at: OffsetDateTime) -> String {
    let (hour, minute, second) = at.to_hms();
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// The same of a moment in a record.
pub(super) fn clock_of(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}

/// How long a restart is news.
const NEWS: Duration = Duration::from_secs(60);
