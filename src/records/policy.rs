//! What of a request may be written, and what is hidden in it.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use regex::bytes::Regex;

use super::format::quote;
use crate::config::Recording;

/// The same for all records.
#[derive(Debug)]
pub(crate) struct Policy {
    /// From when on an exchange is slow.
    pub(super) slow: Duration,
    /// Whether queries are written.
    pub(super) query: bool,
    headers: Vec<HeaderName>,
    redact: Vec<Regex>,
}

/// The values of those fields that are to be written.
pub(super) type Noted = Vec<(usize, HeaderValue)>;

impl Policy {
    pub(crate) fn new(recording: &Recording) -> Self {
        Self {
            slow: recording.slow,
            query: recording.query,
            headers: recording.headers.clone(),
            redact: recording.redact.clone(),
        }
    }

    /// Keeps what `--log-header` names.
    pub(super) fn note(&self, headers: &HeaderMap) -> Noted {
        let mut noted = Noted::new();
        for (number, name) in self.headers.iter().enumerate() {
            let values = headers.get_all(name).iter();
            noted.extend(values.map(|value| (number, value.clone())));
        }
        noted
    }

    /// These as one JSON object; none where there are none.
    pub(super) fn object(&self, noted: &Noted) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for of_one_name in noted.chunk_by(|one, other| one.0 == other.0) {
            let values: Vec<_> = of_one_name
                .iter()
                .map(|(_, value)| self.shown(value.as_bytes()))
                .collect();
            let name = &self.headers[of_one_name[0].0];
            out.push(if out.is_empty() { b'{' } else { b',' });
            quote(&mut out, name.as_str());
            out.push(b':');
            quote(&mut out, &String::from_utf8_lossy(&values.join(&b", "[..])));
        }
        (!out.is_empty()).then(|| {
            out.push(b'}');
            out
        })
    }

    /// A text of the client's, without what `--redact` hides.
    pub(crate) fn shown<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut shown = Cow::Borrowed(text);
        for pattern in &self.redact {
            if let Cow::Owned(redacted) = pattern.replace_all(&shown, REDACTED) {
                shown = Cow::Owned(redacted);
            }
        }
        shown
    }
}

const REDACTED: &[u8] = b"[redacted]";
