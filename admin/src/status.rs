//! `GET /status`: the sidecar at a glance; and `POST /drain`, which begins its end.

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use crate::guard::Caller;
use crate::handles::Handles;
use crate::views::{PhaseView, StatusView};

/// The sidecar at a glance
#[utoipa::path(get, path = "/status", operation_id = "status", tag = "operation", responses(
    (status = 200, description = "Phase, target, certificates and the numbers that matter", body = StatusView),
))]
pub(crate) async fn show(State(handles): State<Handles>) -> Json<StatusView> {
    Json(handles.lifecycle.status())
}

/// Begin to drain
///
/// Not ready from now on; accepting for `--drain-delay`, then finishing for `--drain-timeout`, then cutting. The process and its
/// planes stay until SIGTERM comes: `/status` says `stopped` when nothing is open any more.
#[utoipa::path(post, path = "/drain", operation_id = "drain", tag = "operation", responses(
    (status = 202, description = "It has begun, now or before", body = PhaseView),
))]
pub(crate) async fn drain(
    State(handles): State<Handles>,
    caller: Caller,
) -> (StatusCode, Json<PhaseView>) {
    (StatusCode::ACCEPTED, Json(handles.lifecycle.drain(&caller)))
}
