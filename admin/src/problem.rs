//! The one shape of an error: a problem document, RFC 9457.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::views::Refusal;

/// A problem document (RFC 9457). `type` is left out, which means `about:blank`: the title is the status phrase.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The phrase of the status.
    title: &'static str,
    /// The status.
    status: u16,
    /// What happened to what, why, and what to try.
    detail: String,
    /// A short stable word for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Fields of the answer.
    #[serde(skip)]
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            reason: None,
            fields: Vec::new(),
        }
    }

    /// A parameter of the query whose value is not what it has to be.
    pub(crate) fn bad_value(name: &str, value: &str, wanted: &str) -> Self {
        let detail = format!("{name}={value} is not {wanted}");
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// A query that cannot be read; the error names the parameters there are.
    pub(crate) fn bad_query(error: &QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.body_text())
    }

    /// Adds a short stable word for programs.
    pub(crate) fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Adds a field to the head of the answer.
    pub(crate) fn field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }
}

/// A refused change has changed nothing.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.reason {
            "changed_meanwhile" => StatusCode::PRECONDITION_FAILED,
            "target_locked" => StatusCode::FORBIDDEN,
            "busy" | "nothing_to_confirm" => StatusCode::CONFLICT,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let detail = format!("nothing was changed: {}", refusal.detail);
        Self::new(status, detail).reason(refusal.reason)
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fields = std::mem::take(&mut self.fields);
        let mut response = (status, Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().extend(fields);
        response
    }
}

pub(crate) async fn not_found(uri: http::Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at {}", uri.path()),
    )
}

pub(crate) async fn method_not_allowed(method: http::Method, uri: http::Uri) -> Problem {
    let detail = format!(
        "{} does not take {method}; see the Allow header",
        uri.path()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
