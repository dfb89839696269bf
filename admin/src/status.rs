//! `GET /status`: the sidecar at a glance.

use axum::Json;
use axum::extract::State;

use crate::handles::Handles;
use crate::views::StatusView;

pub(crate) async fn show(State(handles): State<Handles>) -> Json<StatusView> {
    Json(handles.lifecycle.status())
}
