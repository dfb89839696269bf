//! Liveness is "the process can answer"; readiness says what is pending.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::handles::Handles;
use crate::problem::Problem;

/// Health in a word.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or `ready`.
    status: &'static str,
}

/// Whether the process can answer
#[utoipa::path(get, path = "/livez", operation_id = "live", tag = "health", security(()), responses(
    (status = 200, description = "It can", body = Health),
))]
pub(crate) async fn live() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// The same by another name
#[utoipa::path(get, path = "/healthz", operation_id = "health", tag = "health", security(()), responses(
    (status = 200, description = "It can", body = Health),
))]
pub(crate) async fn health() -> Json<Health> {
    live().await
}

/// Whether clients are served
#[utoipa::path(get, path = "/readyz", operation_id = "ready", tag = "health", security(()), responses(
    (status = 200, description = "They are", body = Health),
    (status = 503, description = "They are not: what is pending or wrong; `not_ready`", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn ready(State(handles): State<Handles>) -> Response {
    let pending = handles.lifecycle.pending();
    if pending.is_empty() {
        return Json(Health { status: "ready" }).into_response();
    }
    let detail = format!("not ready: {}", pending.join("; "));
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        .reason("not_ready")
        .into_response()
}
