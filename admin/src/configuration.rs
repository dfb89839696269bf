//! `GET /config`: what the sidecar was told, and by whom.

use axum::Json;
use axum::extract::State;

use crate::handles::Handles;
use crate::views::ConfigView;

/// The effective configuration
///
/// Each option with its value and where it comes from. It is never reloaded.
#[utoipa::path(get, path = "/config", operation_id = "configuration", tag = "operation", responses(
    (status = 200, description = "All options", body = ConfigView),
))]
pub(crate) async fn show(State(handles): State<Handles>) -> Json<ConfigView> {
    Json(handles.configuration.view())
}
