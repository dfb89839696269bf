//! Which records are shown. A line is parsed only where something is asked of it, and only for what may be asked.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio::task::yield_now;

/// What a record must be to be shown; all of it.
#[derive(Debug)]
pub(super) struct Filter(Vec<Condition>);

/// Something that is asked of a record. One that lacks the field is not shown.
#[derive(Debug)]
pub(super) enum Condition {
    /// Closed at or after this moment.
    ClosedSince(OffsetDateTime),
    /// `kind` is this.
    Kind(&'static str),
    /// `status` is this.
    Status(Status),
    /// `duration_ms` is at least this.
    MinMs(f64),
    /// `method` is this, in any case.
    Method(String),
    /// `path` begins with this.
    Path(String),
    /// `client` or `client_id` is this.
    Client(Client),
    /// `reason` is this word.
    Reason(String),
}

#[derive(Debug)]
pub(super) enum Status {
    Exactly(u16),
    /// The first digit.
    Class(u8),
    /// None was sent.
    None,
}

/// An address in whatever spelling, or an identity as it is written.
#[derive(Debug)]
pub(super) struct Client {
    address: Option<IpAddr>,
    text: String,
}

impl Filter {
    pub(super) fn new(conditions: Vec<Condition>) -> Self {
        Self(conditions)
    }

    /// The first `limit` of those lines that are shown.
    pub(super) async fn choose(
        &self,
        lines: impl Iterator<Item = Arc<[u8]>>,
        limit: usize,
    ) -> Vec<Arc<[u8]>> {
        let mut chosen = Vec::new();
        for (number, line) in lines.enumerate() {
            if chosen.len() >= limit {
                break;
            }
            if number % TURN == TURN - 1 {
                yield_now().await;
            }
            if self.admits(&line) {
                chosen.push(line);
            }
        }
        chosen
    }

    pub(super) fn admits(&self, line: &[u8]) -> bool {
        if self.0.is_empty() {
            return true;
        }
        serde_json::from_slice(line).is_ok_and(|record| {
            let holds = |condition: &Condition| condition.holds(&record).unwrap_or(false);
            self.0.iter().all(holds)
        })
    }
}

impl Condition {
    /// None where the record lacks the field.
    fn holds(&self, record: &Record<'_>) -> Option<bool> {
        Some(match self {
            Self::ClosedSince(time) => record.closed()? >= *time,
            Self::Kind(wanted) => *record.kind.as_deref()? == **wanted,
            Self::Status(wanted) => wanted.is(record.status?),
            Self::MinMs(least) => record.duration_ms? >= *least,
            Self::Method(wanted) => record.method.as_deref()?.eq_ignore_ascii_case(wanted),
            Self::Path(prefix) => record.path.as_deref()?.starts_with(prefix),
            Self::Client(wanted) => wanted.is(record),
            Self::Reason(wanted) => record.reason.as_deref()? == wanted,
        })
    }
}

impl Status {
    fn is(&self, status: Option<u16>) -> bool {
        match *self {
            Self::Exactly(wanted) => status == Some(wanted),
            Self::Class(class) => status.is_some_and(|status| status / 100 == u16::from(class)),
            Self::None => status.is_none(),
        }
    }
}

impl Client {
    pub(super) fn new(text: String) -> Self {
        Self {
            address: address(&text),
            text,
        }
    }

    fn is(&self, record: &Record<'_>) -> bool {
        let seen = record.client.as_deref().and_then(address);
        (self.address.is_some() && seen == self.address)
            || record.client_id.as_deref() == Some(&self.text)
    }
}

/// An IPv4 client of a dual-stack listener is the same client.
fn address(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// What may be asked of a record, borrowed from its line wherever nothing is escaped.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    time: Option<Text<'a>>,
    #[serde(borrow)]
    client: Option<Text<'a>>,
    #[serde(borrow)]
    client_id: Option<Text<'a>>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    path: Option<Text<'a>>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    /// The inner one is none where the record says null.
    #[serde(default, deserialize_with = "present")]
    status: Option<Option<u16>>,
    duration_ms: Option<f64>,
}

impl Record<'_> {
    /// A record is made when an exchange is over, and `time` says when it began.
    fn closed(&self) -> Option<OffsetDateTime> {
        let began = OffsetDateTime::parse(self.time.as_deref()?, &Rfc3339).ok()?;
        let took = self.duration_ms.unwrap_or_default();
        began.checked_add(Duration::checked_seconds_f64(took / 1000.0)?)
    }
}

/// serde borrows a `Cow` as a field, but not one within an `Option`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u16>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// Lines that are looked at before others have their turn: the control thread has probes to answer.
const TURN: usize = 50;
