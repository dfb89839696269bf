//! What a request for `/logs` asks for. An unknown name or a bad value is an error, not a filter that silently matches
//! everything.

use http::HeaderValue;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::IntoParams;

use super::filter::{Client, Condition, Filter, Status};
use super::schema::{Kind, moment_or_id};
use crate::problem::Problem;

/// The parameters of the query, as they came.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// Records at most.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 1000000)]
    limit: Option<String>,
    /// Closed since then (RFC 3339), or after the record with this id.
    #[param(schema_with = moment_or_id)]
    since: Option<String>,
    /// A code like 502, a class like 5xx, or `none` where none was sent.
    #[param(pattern = "^([1-9][0-9]{2}|[1-5][xX]{2}|none)$")]
    status: Option<String>,
    /// The method, in any case.
    method: Option<String>,
    /// The beginning of the path.
    path: Option<String>,
    /// Milliseconds that it took at least.
    #[param(value_type = Option<f64>, minimum = 0)]
    min_ms: Option<String>,
    /// The address of the client, or the name in its certificate.
    client: Option<String>,
    /// The word for why it failed.
    reason: Option<String>,
    /// The kind of record.
    #[param(inline, value_type = Option<Kind>)]
    kind: Option<String>,
    /// Go on with what comes.
    #[param(value_type = Option<bool>)]
    follow: Option<String>,
}

/// The checked form of [`Parameters`].
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) limit: Option<usize>,
    pub(super) since: Option<Since>,
    pub(super) filter: Filter,
    pub(super) follow: bool,
}

/// Where to begin.
#[derive(Debug)]
pub(super) enum Since {
    /// With what was closed at or after this moment.
    Time(OffsetDateTime),
    /// With what was closed after the record with this id.
    Id(String),
}

impl Asked {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, Problem> {
        let since = checked(&parameters.since, since)?;
        Ok(Self {
            limit: checked(&parameters.limit, limit)?,
            filter: Filter::new(conditions(parameters, since.as_ref())?),
            since,
            follow: checked(&parameters.follow, follow)?.unwrap_or_default(),
        })
    }

    /// A client that lost its stream comes back with the same query and the id of the last record that it has seen. The
    /// limit was meant for its first visit.
    pub(super) fn go_on_after(&mut self, last_seen: Option<&HeaderValue>) {
        if self.since.is_none()
            && let Some(id) = last_seen.and_then(|id| id.to_str().ok()).and_then(id)
        {
            self.since = Some(Since::Id(id));
            self.limit = None;
        }
    }
}

fn conditions(parameters: &Parameters, since: Option<&Since>) -> Result<Vec<Condition>, Problem> {
    let since = match since {
        Some(Since::Time(time)) => Some(Condition::ClosedSince(*time)),
        Some(Since::Id(_)) | None => None,
    };
    let conditions = [
        since,
        checked(&parameters.kind, kind)?,
        checked(&parameters.status, status)?.map(Condition::Status),
        checked(&parameters.min_ms, min_ms)?.map(Condition::MinMs),
        parameters.method.clone().map(Condition::Method),
        parameters.path.clone().map(Condition::Path),
        parameters
            .client
            .clone()
            .map(|text| Condition::Client(Client::new(text))),
        parameters.reason.clone().map(Condition::Reason),
    ];
    Ok(conditions.into_iter().flatten().collect())
}

fn checked<T>(
    value: &Option<String>,
    check: fn(&str) -> Result<T, Problem>,
) -> Result<Option<T>, Problem> {
    value.as_deref().map(check).transpose()
}

fn limit(text: &str) -> Result<usize, Problem> {
    most(text).ok_or_else(|| Problem::bad_value("limit", text, "a number of records up to 1000000"))
}

/// How many to show, where somebody says so.
pub(crate) fn most(text: &str) -> Option<usize> {
    text.parse().ok().filter(|count| *count <= MOST)
}

fn since(text: &str) -> Result<Since, Problem> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok().map(Since::Time);
    time.or_else(|| id(text).map(Since::Id)).ok_or_else(|| {
        let wanted = "a time like 2026-11-22T10:00:00Z (write + as %2B) or the id of a record";
        Problem::bad_value("since", text, wanted)
    })
}

/// The id of a record is a UUID.
fn id(text: &str) -> Option<String> {
    let is_id = text.len() == 36
        && text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_id.then(|| text.to_ascii_lowercase())
}

fn kind(text: &str) -> Result<Condition, Problem> {
    ["exchange", "handshake", "audit", "notice"]
        .into_iter()
        .find(|kind| *kind == text)
        .map(Condition::Kind)
        .ok_or_else(|| {
            let wanted = "exchange, handshake, audit or notice";
            Problem::bad_value("kind", text, wanted)
        })
}

fn status(text: &str) -> Result<Status, Problem> {
    let status = match text.as_bytes() {
        b"none" => Some(Status::None),
        [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => Some(Status::Class(class - b'0')),
        [b'1'..=b'9', _, _] => text.parse().map(Status::Exactly).ok(),
        _ => None,
    };
    status.ok_or_else(|| {
        let wanted = "a code like 502, a class like 5xx, or none (where none was sent)";
        Problem::bad_value("status", text, wanted)
    })
}

fn min_ms(text: &str) -> Result<f64, Problem> {
    let is_duration = |number: &f64| number.is_finite() && *number >= 0.0;
    text.parse().ok().filter(is_duration).ok_or_else(|| {
        Problem::bad_value("min_ms", text, "a number of milliseconds like 250 or 0.5")
    })
}

fn follow(text: &str) -> Result<bool, Problem> {
    text.parse()
        .map_err(|_| Problem::bad_value("follow", text, "true or false"))
}

/// As many as a ring has.
const MOST: usize = 1_000_000;
