//! `/log-level`: the filter of the program's own log.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use http::HeaderMap;

use crate::guard::Caller;
use crate::handles::Handles;
use crate::json;
use crate::problem::Problem;
use crate::views::{LogLevelChange, LogLevelView};

/// The filter of the program's own log
#[utoipa::path(get, path = "/log-level", operation_id = "log_level", tag = "operation", responses(
    (status = 200, description = "The filter in force", body = LogLevelView),
))]
pub(crate) async fn show(State(handles): State<Handles>) -> Json<LogLevelView> {
    Json(handles.log_level.current())
}

/// Change the filter of the program's own log
///
/// It holds until the next change, or a restart.
#[utoipa::path(put, path = "/log-level", operation_id = "change_log_level", tag = "operation", request_body = LogLevelChange, responses(
    (status = 200, description = "The filter in force", body = LogLevelView),
    (status = 400, description = "The body is not what it has to be", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "The body is larger than 64 KiB", body = Problem, content_type = "application/problem+json"),
    (status = 415, description = "The body is not said to be JSON", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "No filter, nothing was changed; `malformed`", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change(
    State(handles): State<Handles>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<LogLevelView>, Problem> {
    let change: LogLevelChange = json::read(&headers, body, r#"{"filter": "debug"}"#)?;
    let changed = handles.log_level.set(&change.filter, &caller)?;
    Ok(Json(changed))
}
