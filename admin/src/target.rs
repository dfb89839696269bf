//! `/target`: where requests go, and the transaction that changes it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};

use crate::condition::IfMatch;
use crate::guard::Caller;
use crate::handles::Handles;
use crate::json;
use crate::problem::Problem;
use crate::views::{TargetChange, TargetView};

/// Where requests go
///
/// The `ETag` is for `If-Match` in a change.
#[utoipa::path(get, path = "/target", operation_id = "target", tag = "target", responses(
    (status = 200, description = "The target in force", body = TargetView, headers(("etag", description = "For If-Match"))),
))]
pub(crate) async fn show(State(handles): State<Handles>) -> Response {
    shown(handles.targets.current())
}

/// Change the target
///
/// Parsed, refused where no target may be, probed, and only then put in force, for every request that begins from then on. With
/// `confirm_within` it is undone when nobody confirms it, or when its application fails. A refused change changes nothing. A
/// restart returns to the configured target.
#[utoipa::path(put, path = "/target", operation_id = "change_target", tag = "target", request_body = TargetChange,
    params(("If-Match" = Option<String>, Header, description = "The ETag of the state that is to be changed")),
    responses(
    (status = 200, description = "The target in force", body = TargetView, headers(("etag", description = "For If-Match"))),
    (status = 400, description = "The body is not what it has to be", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "The target is locked (`--target-locked`), nothing was changed; `target_locked`, or as for every request", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Several changes wait already; `busy`", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "The target was changed meanwhile; `changed_meanwhile`", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "The body is larger than 64 KiB", body = Problem, content_type = "application/problem+json"),
    (status = 415, description = "The body is not said to be JSON", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Refused, nothing was changed: `malformed`, `not_local`, `loop`, `link_local`, `metadata`, `unusable`, `unresolved`, `probe_failed`, `probe_status`", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn change(
    State(handles): State<Handles>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let change: TargetChange = json::read(&headers, body, EXAMPLE)?;
    let expected = IfMatch::of(&headers);
    let changed = handles.targets.change(change, expected, &caller).await?;
    Ok(shown(changed))
}

/// Keep the target that is on trial
#[utoipa::path(post, path = "/target/confirm", operation_id = "confirm_target", tag = "target",
    params(("If-Match" = Option<String>, Header, description = "The ETag of the state that is to be confirmed")),
    responses(
    (status = 200, description = "It stays", body = TargetView, headers(("etag", description = "For If-Match"))),
    (status = 409, description = "No change waits for a confirmation; `nothing_to_confirm`", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "The target was changed meanwhile; `changed_meanwhile`", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn confirm(
    State(handles): State<Handles>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let confirmed = handles.targets.confirm(&IfMatch::of(&headers), &caller)?;
    Ok(shown(confirmed))
}

/// Return to the configured target
#[utoipa::path(delete, path = "/target", operation_id = "revert_target", tag = "target",
    params(("If-Match" = Option<String>, Header, description = "The ETag of the state that is to be left")),
    responses(
    (status = 200, description = "The configured target is in force", body = TargetView, headers(("etag", description = "For If-Match"))),
    (status = 412, description = "The target was changed meanwhile; `changed_meanwhile`", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn revert(
    State(handles): State<Handles>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let reverted = handles.targets.revert(&IfMatch::of(&headers), &caller)?;
    Ok(shown(reverted))
}

fn shown(view: TargetView) -> Response {
    let tag = HeaderValue::from_str(&view.etag);
    let mut response = Json(view).into_response();
    if let Ok(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

const EXAMPLE: &str = r#"{"url": "http://127.0.0.1:8081", "probe": true, "confirm_within": "60s"}"#;
