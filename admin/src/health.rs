//! Liveness is "the process can answer"; readiness says what is pending.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::handles::Handles;
use crate::problem::Problem;

pub(crate) async fn live() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

pub(crate) async fn ready(State(handles): State<Handles>) -> Response {
    let pending = handles.lifecycle.pending();
    if pending.is_empty() {
        return Json(json!({ "status": "ready" })).into_response();
    }
    let detail = format!("not ready: {}", pending.join("; "));
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        .reason("not_ready")
        .into_response()
}
