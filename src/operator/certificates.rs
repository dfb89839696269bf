//! The rows of the status about certificates.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::screen::{Parts, text};
use crate::terminal::Ink;

/// A row for each certificate.
pub(super) fn rows(
    summary: &Value,
    now: OffsetDateTime,
) -> impl Iterator<Item = (&'static str, Parts)> {
    let parts = summary["parts"].as_array().into_iter().flatten();
    parts
        .filter(|part| part["kind"] == "certificate")
        .map(move |part| ("certificate", certificate(part, now)))
}

fn certificate(part: &Value, now: OffsetDateTime) -> Parts {
    let names: Vec<&str> = part["names"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    let more = names.len().saturating_sub(MOST_NAMES);
    let shown = match (names.len(), more) {
        (0, _) => text(&part["source"]).to_owned(),
        (_, 0) => names.join(", "),
        _ => format!("{} and {more} more", names[..MOST_NAMES].join(", ")),
    };
    let mut parts = vec![(Ink::Plain, shown)];
    let not_after = part["not_after"].as_str();
    parts.push(
        match not_after.and_then(|end| OffsetDateTime::parse(end, &Rfc3339).ok()) {
            Some(end) => time_left((end - now).whole_days(), end < now),
            None => (Ink::Red, ": none is served".to_owned()),
        },
    );
    if let Some(since) = part["disk_differs_since"].as_str() {
        parts.push((Ink::Yellow, format!("; another is on disk since {since}")));
    }
    if let Some(error) = part["last_error"].as_str() {
        parts.push((Ink::Red, format!("; the last reload failed: {error}")));
    }
    parts
}

fn time_left(days: i64, is_over: bool) -> (Ink, String) {
    match (is_over, days) {
        (true, _) => (Ink::Red, format!(": expired {} ago", in_days(-days))),
        (false, ..FEW_DAYS) => (Ink::Red, format!(": {} left", in_days(days))),
        _ => (Ink::Green, format!(": {} left", in_days(days))),
    }
}

fn in_days(days: i64) -> String {
    match days {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        _ => format!("{days} days"),
    }
}

/// Names shown of a certificate.
const MOST_NAMES: usize = 3;
/// Days before the end of a certificate when it is late to renew it.
const FEW_DAYS: i64 = 14;
