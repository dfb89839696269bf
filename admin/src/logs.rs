//! `GET /logs`: the recent records, filtered here so that a request pays nothing for the filters.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::handles::Handles;
use crate::problem::Problem;

/// What to show. An unknown name is an error, not a filter that silently matches everything.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    limit: Option<usize>,
    since: Option<String>,
    status: Option<String>,
    method: Option<String>,
    path: Option<String>,
}

pub(crate) async fn recent(
    State(handles): State<Handles>,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(asked) = asked.map_err(|error| {
        let detail = format!(
            "{}; known are limit, since, status, method and path",
            error.body_text()
        );
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let filter = Filter::new(&asked)?;
    let limit = asked.limit.unwrap_or(usize::MAX);
    let mut lines = handles.records.recent();
    filter.forget_known(&mut lines);
    let chosen = lines.iter().filter(|line| filter.admits(line)).take(limit);
    let wants_lines = headers.get(header::ACCEPT).is_some_and(|accept| {
        accept
            .to_str()
            .is_ok_and(|accept| accept.contains("ndjson"))
    });
    Ok(if wants_lines {
        as_lines(chosen)
    } else {
        as_array(chosen)
    })
}

fn as_array<'a>(lines: impl Iterator<Item = &'a Arc<[u8]>>) -> Response {
    let mut body = b"[".to_vec();
    for line in lines {
        body.extend_from_slice(if body.len() > 1 { b",\n" } else { b"\n" });
        body.extend_from_slice(line);
    }
    body.extend_from_slice(b"\n]\n");
    (
        [(header::CONTENT_TYPE, "application/json")],
        Body::from(body),
    )
        .into_response()
}

fn as_lines<'a>(lines: impl Iterator<Item = &'a Arc<[u8]>>) -> Response {
    let mut body = Vec::new();
    for line in lines {
        body.extend_from_slice(line);
        body.push(b'\n');
    }
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from(body),
    )
        .into_response()
}

/// The checked form of [`Asked`].
#[derive(Debug, Default)]
struct Filter {
    since: Option<Since>,
    status: Option<Status>,
    method: Option<String>,
    path: Option<String>,
}

#[derive(Debug)]
enum Since {
    /// Closed at or after this moment.
    Time(OffsetDateTime),
    /// Closed after the record with this id.
    Id(String),
}

#[derive(Debug)]
enum Status {
    Exactly(u64),
    Class(u64),
}

impl Filter {
    fn new(asked: &Asked) -> Result<Self, Problem> {
        Ok(Self {
            since: asked.since.as_deref().map(since).transpose()?,
            status: asked.status.as_deref().map(status).transpose()?,
            method: asked.method.clone(),
            path: asked.path.clone(),
        })
    }

    /// Leaves the records that are newer than the one named by `since`: the list is in the order of their closing.
    fn forget_known(&self, lines: &mut Vec<Arc<[u8]>>) {
        if let Some(Since::Id(id)) = &self.since {
            let wanted = format!("\"id\":\"{id}\"");
            let known = lines
                .iter()
                .position(|line| contains(line, wanted.as_bytes()));
            lines.truncate(known.unwrap_or(lines.len()));
        }
    }

    fn admits(&self, line: &[u8]) -> bool {
        if self.since.is_none()
            && self.status.is_none()
            && self.method.is_none()
            && self.path.is_none()
        {
            return true;
        }
        let Ok(record) = serde_json::from_slice::<Value>(line) else {
            return false;
        };
        self.status
            .as_ref()
            .is_none_or(|wanted| wanted.matches(&record["status"]))
            && self.method.as_deref().is_none_or(|wanted| {
                record["method"]
                    .as_str()
                    .is_some_and(|method| method.eq_ignore_ascii_case(wanted))
            })
            && self.path.as_deref().is_none_or(|wanted| {
                record["path"]
                    .as_str()
                    .is_some_and(|path| path.starts_with(wanted))
            })
            && self
                .since
                .as_ref()
                .is_none_or(|since| since.matches(&record))
    }
}

impl Since {
    fn matches(&self, record: &Value) -> bool {
        match self {
            Self::Time(since) => closed(record).is_some_and(|closed| closed >= *since),
            // Only those before the named record in the list are left; when it is there no more, all are. Ids sort by
            // the beginning of the exchange, so they could not tell what was closed later.
            Self::Id(_) => true,
        }
    }
}

/// A record is made when an exchange is over, and `time` says when it began.
fn closed(record: &Value) -> Option<OffsetDateTime> {
    let began = OffsetDateTime::parse(record["time"].as_str()?, &Rfc3339).ok()?;
    let took = record["duration_ms"].as_f64().unwrap_or_default();
    Some(began + Duration::seconds_f64(took / 1000.0))
}

impl Status {
    fn matches(&self, status: &Value) -> bool {
        let Some(status) = status.as_u64() else {
            return false;
        };
        match *self {
            Self::Exactly(wanted) => status == wanted,
            Self::Class(class) => status / 100 == class,
        }
    }
}

fn contains(line: &[u8], wanted: &[u8]) -> bool {
    line.windows(wanted.len()).any(|window| window == wanted)
}

fn since(text: &str) -> Result<Since, Problem> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(Since::Time(time));
    }
    let is_id = text.len() == 36
        && text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_id {
        return Ok(Since::Id(text.to_ascii_lowercase()));
    }
    Err(bad(
        "since",
        text,
        "a time like 2026-11-22T10:00:00Z (write + as %2B) or the id of a record",
    ))
}

fn status(text: &str) -> Result<Status, Problem> {
    let bytes = text.as_bytes();
    match bytes {
        [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
            Ok(Status::Class(u64::from(class - b'0')))
        }
        _ if bytes.len() == 3 => text
            .parse()
            .map(Status::Exactly)
            .map_err(|_| bad_status(text)),
        _ => Err(bad_status(text)),
    }
}

fn bad_status(text: &str) -> Problem {
    bad("status", text, "a code like 502 or a class like 5xx")
}

fn bad(name: &str, text: &str, wanted: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        format!("{name}={text} is not {wanted}"),
    )
}
