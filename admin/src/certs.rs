//! `GET /certs` and `POST /certs/reload`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::handles::{CertificatesView, Handles};

pub(crate) async fn show(State(handles): State<Handles>) -> Json<CertificatesView> {
    Json(handles.certificates.view())
}

/// Answers with the real outcome: 200 when what is on disk is served now, 409 with the reason when it is not.
pub(crate) async fn reload(State(handles): State<Handles>) -> Response {
    let attempt = handles.certificates.reload().await;
    if let Some(error) = attempt.error.clone() {
        let problem = crate::problem::Problem::new(
            StatusCode::CONFLICT,
            format!(
                "nothing was changed, generation {} is still served: {error}",
                attempt.generation
            ),
        );
        return problem
            .reason(attempt.reason.unwrap_or("failed"))
            .into_response();
    }
    Json(attempt).into_response()
}
