//! The part of the configuration that is about records.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use regex::bytes::{Regex, RegexBuilder};

use super::build::Fields;
use super::parse;

/// How records are written, where to, and what of them.
#[derive(Clone, Debug)]
pub struct Recording {
    /// How they look.
    pub format: LogFormat,
    /// Where they go, when not to stdout.
    pub file: Option<PathBuf>,
    /// The share of successes that is written, from 0 to 1.
    pub sample: f64,
    /// From when on an exchange is slow.
    pub slow: Duration,
    /// Whether queries are written.
    pub query: bool,
    /// Fields of requests that are written.
    pub headers: Vec<HeaderName>,
    /// What is not written of what a client says.
    pub redact: Vec<Regex>,
    /// Recent records kept for `/logs`, and as many KiB at most.
    pub ring: usize,
}

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// As Apache and nginx write it.
    Combined,
    /// For people.
    Text,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<Recording> {
    let file = fields.optional("log-file", |text| Ok(PathBuf::from(text)));
    let is_seen = file.is_none() && io::stdout().is_terminal();
    Some(Recording {
        format: fields.parse("log-format", |text| format(text, is_seen))?,
        file,
        sample: fields.parse("log-sample", share)?,
        slow: fields.parse("slow", parse::duration)?,
        query: fields.parse("log-query", parse::switch)?,
        headers: headers(fields),
        redact: fields.all("redact", pattern),
        ring: fields.parse("ring", ring)?,
    })
}

fn format(text: &str, is_seen: bool) -> Result<LogFormat, String> {
    match text {
        "auto" if is_seen => Ok(LogFormat::Text),
        "auto" | "json" => Ok(LogFormat::Json),
        "combined" => Ok(LogFormat::Combined),
        "text" => Ok(LogFormat::Text),
        _ => Err(format!(
            "{text:?} is not known; use auto, json, combined or text"
        )),
    }
}

/// `0.1` or `10%`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let (digits, whole) = match text.strip_suffix('%') {
        Some(digits) => (digits.trim_end(), 100.0),
        None => (text, 1.0),
    };
    let share = digits.parse().map(|number: f64| number / whole);
    share
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| format!("{text:?} is not a share from 0 to 1, like 0.1 or 10%"))
}

/// Once each, however often they are named.
fn headers(fields: &mut Fields<'_>) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for name in fields.all("log-header", name) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Each is a KiB, and a quarter of them is to be at least one.
fn ring(text: &str) -> Result<usize, String> {
    let count = parse::count(text)?;
    if (4..=MOST_KEPT).contains(&count) {
        Ok(count)
    } else {
        Err(format!("{count} is not from 4 to {MOST_KEPT}"))
    }
}

fn name(text: &str) -> Result<HeaderName, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not the name of a field, like X-Tenant"))
}

/// Records are bytes, and a client need not write Unicode.
fn pattern(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).unicode(false).build();
    let pattern = built.map_err(|error| format!("{text:?} is not a pattern: {error}"))?;
    if pattern.is_match(b"") {
        return Err(format!(
            "{text:?} matches where there is nothing, and so everywhere"
        ));
    }
    Ok(pattern)
}

const MOST_KEPT: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_or_a_percentage() {
        for (text, wanted) in [
            ("1", 1.0),
            ("0", 0.0),
            ("0.25", 0.25),
            ("10%", 0.1),
            ("2.5 %", 0.025),
        ] {
            assert_eq!(share(text), Ok(wanted), "{text}");
        }
        for text in ["", "%", "-1", "1.1", "101%", "NaN", "half"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_that_matches_everywhere_is_a_mistake() {
        assert!(pattern("secret=[^&]*").is_ok());
        assert!(pattern("x*").is_err());
        assert!(pattern("(").is_err());
    }
}
