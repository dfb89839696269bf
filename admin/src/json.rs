//! A body that changes something: JSON, and said to be.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Reads it; `example` shows what it should be.
pub(crate) fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    example: &str,
) -> Result<T, Problem> {
    let body = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body is larger than {} KiB", MAX_BODY / 1024);
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        }
        status => Problem::new(status, error.body_text()),
    })?;
    // A page can send a form or plain text across origins without asking; JSON it cannot.
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let detail = "send JSON with Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        let detail = format!("the body is no JSON object like {example}");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("the body is not like {example}: {error}");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// Bytes of a request body; the largest change is a few hundred.
pub(crate) const MAX_BODY: usize = 64 * 1024;
