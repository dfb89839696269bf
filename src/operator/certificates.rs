//! The rows of the status about certificates.

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::rows::{Parts, text, texts};
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
    let names: Vec<&str> = texts(&part["names"]).collect();
    let more = names.len().saturating_sub(MOST_NAMES);
    let shown = match (names.len(), more) {
        (0, _) => text(&part["source"]).to_owned(),
        (_, 0) => names.join(", "),
        _ => format!("{} and {more} more", names[..MOST_NAMES].join(", ")),
    };
    let mut parts = vec![(Ink::Plain, shown)];
    parts.push(match time_left(&part["not_after"], now) {
        Some((ink, words)) => (ink, format!(": {words}")),
        None => (Ink::Red, ": none is served".to_owned()),
    });
    if let Some(since) = part["disk_differs_since"].as_str() {
        parts.push((Ink::Yellow, format!("; another is on disk since {since}")));
    }
    if let Some(error) = part["last_error"].as_str() {
        parts.push((Ink::Red, format!("; the last reload failed: {error}")));
    }
    parts
}

/// `89 days left`, if it is known when something ends.
pub(super) fn time_left(not_after: &Value, now: OffsetDateTime) -> Option<(Ink, String)> {
    let end = OffsetDateTime::parse(not_after.as_str()?, &Rfc3339).ok()?;
    let days = (end - now).whole_days();
    Some(match (end < now, days) {
        (true, _) => (Ink::Red, format!("expired {} ago", in_days(-days))),
        (false, ..FEW_DAYS) => (Ink::Red, format!("{} left", in_days(days))),
        _ => (Ink::Green, format!("{} left", in_days(days))),
    })
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
