//! Whether how a request ended and what its record says follow from what was done to it.

use std::time::Duration;

use serde_json::Value;

use crate::entry::Entry;
use crate::plan::{Fate, Kind, Wire};

/// How it ended for the client.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Everything came, and was what it should be; from this application, after so long.
    Whole { app: usize, took: Duration },
    /// The sidecar's own answer.
    Answered(u16),
    /// It broke off, which the client could see.
    Cut(String),
    /// The client left.
    Left,
    /// It came, and was not what it should be.
    Wrong(String),
}

/// What is compared of a record.
pub(crate) struct Record {
    status: Option<u64>,
    reason: String,
    bytes_in: u64,
    bytes_out: u64,
    target: String,
    pub(crate) retries: u64,
    pub(crate) line: String,
}

/// What became of a request that went as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ending {
    Served,
    /// Served, after it had met a stale connection.
    Again,
    /// Its application died, as it was told.
    Died,
    /// Its application was restarted under it.
    Killed,
    /// It met a connection that was being closed, and may not be sent again.
    Stale,
    /// Its client left, as it was told.
    Left,
}

impl Record {
    pub(crate) fn read(value: &Value, line: &str) -> Self {
        let number = |name: &str| value[name].as_u64().unwrap_or_default();
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Self {
            status: value["status"].as_u64(),
            reason: text("reason"),
            bytes_in: number("bytes_in"),
            bytes_out: number("bytes_out"),
            target: text("target"),
            retries: number("retries"),
            line: line.to_owned(),
        }
    }

    fn says(&self, status: u64, reasons: &[&str]) -> bool {
        self.status == Some(status) && reasons.contains(&&*self.reason)
    }
}

/// What became of it, or what is wrong.
pub(crate) fn judge(
    entry: &Entry,
    outcome: &Outcome,
    record: &Record,
    urls: &[String; 2],
) -> Result<Ending, String> {
    match outcome {
        Outcome::Whole { app, .. } => served(entry, (*app, urls), record),
        Outcome::Answered(status) => answered(entry, *status, record),
        Outcome::Cut(error) => cut(entry, error, record),
        Outcome::Left => left(entry, record),
        Outcome::Wrong(what) => Err(what.clone()),
    }
}

fn served(
    entry: &Entry,
    (app, urls): (usize, &[String; 2]),
    record: &Record,
) -> Result<Ending, String> {
    let plan = &entry.plan;
    if matches!(plan.fate, Fate::DiesBeforeHead | Fate::DiesInBody) {
        return Err("an answer that was cut short was taken for whole".to_owned());
    }
    if !record.says(agreed(entry), &[""]) {
        return Err("served, and the record says otherwise".to_owned());
    }
    if entry.targets & (1 << app) == 0 {
        return Err(format!("application {app} was not in force"));
    }
    if urls.get(app) != Some(&record.target) {
        return Err(format!(
            "application {app} has answered, and the record names another"
        ));
    }
    if plan.kind != Kind::WebSocket && record.bytes_in != plan.up as u64 {
        return Err(format!("bytes_in is not {}", plan.up));
    }
    if matches!(plan.kind, Kind::Get | Kind::Download) && record.bytes_out != plan.down as u64 {
        return Err(format!("bytes_out is not {}", plan.down));
    }
    Ok(if record.retries == 0 {
        Ending::Served
    } else {
        Ending::Again
    })
}

/// The status of one that goes well.
fn agreed(entry: &Entry) -> u64 {
    match (entry.plan.kind, entry.plan.wire) {
        (Kind::WebSocket, Wire::Kept | Wire::Once) => 101,
        _ => 200,
    }
}

/// An answer of the sidecar's own must have a cause that the soak made.
fn answered(entry: &Entry, status: u16, record: &Record) -> Result<Ending, String> {
    if status != 502 || !record.says(502, &GONE) {
        return Err(format!(
            "{status} is no answer of an application that went away"
        ));
    }
    excuse(entry).ok_or_else(|| "502 without a cause".to_owned())
}

/// Why a request may have failed before its answer began.
fn excuse(entry: &Entry) -> Option<Ending> {
    // What is reset may be lost with what was sent before.
    let is_reset_early = entry.plan.fate == Fate::DiesInBody && entry.plan.is_reset;
    if entry.plan.fate == Fate::DiesBeforeHead || is_reset_early {
        return Some(Ending::Died);
    }
    if entry.is_killed {
        return Some(Ending::Killed);
    }
    // It never got through: on its way to an application that went, or on a connection that was going.
    let met = entry.met_restart || (entry.met_close && !entry.plan.is_repeatable());
    (met && !entry.is_at_app).then_some(Ending::Stale)
}

fn cut(entry: &Entry, error: &str, record: &Record) -> Result<Ending, String> {
    let is_cut = record.says(agreed(entry), &["upstream_truncated", "upstream_reset"]);
    // The end of a tunnel needs no reason: it may be over without a last word of its protocol.
    let is_ended = entry.plan.kind == Kind::WebSocket && record.says(agreed(entry), &[""]);
    match entry.plan.fate {
        Fate::DiesInBody if is_cut => Ok(Ending::Died),
        _ if entry.is_killed && (is_cut || is_ended) => Ok(Ending::Killed),
        _ => Err(format!("cut without a cause: {error}")),
    }
}

fn left(entry: &Entry, record: &Record) -> Result<Ending, String> {
    let is_ended = match entry.plan.kind {
        Kind::WebSocket => record.reason.is_empty(),
        _ => record.says(200, &[""]) && record.bytes_out == entry.plan.down as u64,
    };
    // Both may have gone.
    let is_killed = excuse(entry).is_some() && record.reason.starts_with("upstream_");
    if record.reason == "client_gone" || is_ended || is_killed {
        return Ok(Ending::Left);
    }
    Err("the client left, and the record says otherwise".to_owned())
}

/// The reasons of an application that went away before it had answered.
const GONE: [&str; 2] = ["upstream_closed", "upstream_reset"];
