//! `GET /app`: the application's own health, for probes that cannot reach it themselves.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::handles::Handles;
use crate::problem::Problem;
use crate::views::AppView;

/// The application's own health
///
/// Asks the application for `--app-health` over the loopback, one at a time; an answer is good for a second.
#[utoipa::path(get, path = "/app", operation_id = "app", tag = "health", responses(
    (status = 200, description = "It answers with a status from 200 to 399", body = AppView),
    (status = 404, description = "The sidecar was not told what to ask; `not_configured`", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "It does not, or not well: `app_unreachable`, `app_status`, `app_timeout`", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn show(State(handles): State<Handles>) -> Response {
    match handles.app.health().await {
        Some(Ok(view)) => Json(view).into_response(),
        Some(Err(trouble)) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, trouble.detail)
            .reason(trouble.reason)
            .into_response(),
        None => Problem::new(StatusCode::NOT_FOUND, NOT_CONFIGURED)
            .reason("not_configured")
            .into_response(),
    }
}

const NOT_CONFIGURED: &str =
    "the sidecar was not told what to ask the application; give it --app-health PATH";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::to_bytes;

    use super::*;
    use crate::fakes::{App, History, handles};
    use crate::views::AppTrouble;

    async fn answer(app: App) -> (u16, serde_json::Value) {
        let mut handles = handles(History::of(1));
        handles.app = Arc::new(app);
        let response = show(State(handles)).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn the_answer_is_the_applications_own() {
        let view = AppView {
            status: "ok",
            app_status: 204,
            target: "http://127.0.0.1:8080".to_owned(),
            path: "/healthz".to_owned(),
            address: None,
        };
        let (status, body) = answer(App(Some(Ok(view)))).await;
        assert_eq!((status, &body["app_status"]), (200, &204.into()));
        let trouble = AppTrouble {
            reason: "app_status",
            detail: "it says 500".to_owned(),
        };
        let (status, body) = answer(App(Some(Err(trouble)))).await;
        assert_eq!((status, &body["reason"]), (503, &"app_status".into()));
        assert_eq!(body["detail"], "it says 500");
    }

    #[tokio::test]
    async fn without_the_flag_there_is_nothing_to_ask() {
        let (status, body) = answer(App(None)).await;
        assert_eq!((status, &body["reason"]), (404, &"not_configured".into()));
    }
}
