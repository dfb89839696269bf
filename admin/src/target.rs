//! `GET /target` and `PUT /target`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use http::{HeaderMap, StatusCode, header};

use crate::handles::Handles;
use crate::problem::Problem;
use crate::views::{TargetChange, TargetView};

pub(crate) async fn show(State(handles): State<Handles>) -> Json<TargetView> {
    Json(handles.targets.current())
}

pub(crate) async fn change(
    State(handles): State<Handles>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<TargetView>, Problem> {
    let body = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let change = parse(&headers, &body)?;
    match handles.targets.change(change).await {
        Ok(view) => Ok(Json(view)),
        Err(refusal) => {
            let detail = format!("nothing was changed: {}", refusal.detail);
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).reason(refusal.reason))
        }
    }
}

fn parse(headers: &HeaderMap, body: &[u8]) -> Result<TargetChange, Problem> {
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
    serde_json::from_slice(body).map_err(|error| {
        let detail = format!("the body is not {{\"url\": \"http://…\", \"probe\": true}}: {error}");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}
