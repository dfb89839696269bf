//! What a collector's answer means for the batch. What it says is never trusted: it is read up to a limit, and told as plain text
//! of a few words.

use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::otlp;
use crate::config::Exporter as Format;
use crate::terminal::is_unsafe;

/// An answer, as far as it was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The media type of the body, where it says.
    pub(super) kind: String,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was taken, but for so many spans, for this reason.
    Taken(Option<(u64, String)>),
    /// It was taken, by something that does not answer as a collector does.
    TakenOddly,
    /// It never will be.
    Refused(String),
    /// It may be, after so long where that is said.
    Later(String, Option<Duration>),
}

impl Answer {
    pub(super) fn judge(&self, format: Format) -> Verdict {
        if self.status.is_success() {
            return self.taken(format);
        }
        let words = self.words(format);
        match self.status {
            // The retryable ones of OTLP/HTTP; those of the gateways in front mean the same for Zipkin.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Verdict::Later(words, self.retry_after),
            _ => Verdict::Refused(words),
        }
    }

    fn taken(&self, format: Format) -> Verdict {
        if format == Format::Zipkin || self.is_json() {
            return Verdict::Taken(None);
        }
        match otlp::rejected(&self.body) {
            Ok(rejected) => Verdict::Taken(
                rejected.map(|(count, message)| (count, excerpt(message.as_bytes()))),
            ),
            Err(()) => Verdict::TakenOddly,
        }
    }

    fn is_json(&self) -> bool {
        self.kind.starts_with("application/json")
    }

    /// The status, what the collector says to it, and what to try.
    fn words(&self, format: Format) -> String {
        let said = match otlp::complaint(&self.body) {
            Some(message) if !self.is_json() && format == Format::Otlp => {
                excerpt(message.as_bytes())
            }
            _ if self.kind.starts_with("text/plain") || self.is_json() => excerpt(&self.body),
            _ => String::new(),
        };
        let said = if said.is_empty() {
            said
        } else {
            format!(" ({said})")
        };
        let hint = match self.status.as_u16() {
            300..400 => {
                ": redirects are not followed, give the URL where it leads as --trace-endpoint"
            }
            400 | 415 => match format {
                Format::Otlp => ": does it take OTLP/HTTP with protobuf at this path?",
                Format::Zipkin => ": does it take Zipkin's JSON v2 at this path?",
            },
            401 | 403 | 407 => ": give what it asks for in --trace-header-file",
            404 | 405 => match format {
                Format::Otlp => ": is the path of --trace-endpoint right? It usually is /v1/traces",
                Format::Zipkin => {
                    ": is the path of --trace-endpoint right? It usually is /api/v2/spans"
                }
            },
            413 => ": it takes smaller requests only",
            _ => "",
        };
        format!("it answered {}{said}{hint}", self.status)
    }
}

/// Text from elsewhere, fit for a log.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * LONGEST)]).into_owned();
    let plain = text
        .chars()
        .map(|one| if is_unsafe(one) { ' ' } else { one });
    let words = plain.take(LONGEST).collect::<String>();
    words.trim().to_owned()
}

/// What `Retry-After` says: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Characters that are told of what a collector says.
const LONGEST: usize = 200;
