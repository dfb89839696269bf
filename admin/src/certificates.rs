//! `GET /certs` and `POST /certs/reload`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::guard::Caller;
use crate::handles::Handles;
use crate::problem::Problem;
use crate::views::{AttemptView, CertificatesView};

/// Certificates: on disk and served
///
/// Beside the fields listed, those of the first part stand at the top.
#[utoipa::path(get, path = "/certs", operation_id = "certificates", tag = "certificates", responses(
    (status = 200, description = "What is served, and how the last reload ended", body = CertificatesView),
))]
pub(crate) async fn show(State(handles): State<Handles>) -> Json<CertificatesView> {
    Json(handles.certificates.view())
}

/// Read the certificates again
///
/// Answers with the real outcome: 200 when what is on disk is served now, 409 with the reason when something of it is not.
#[utoipa::path(post, path = "/certs/reload", operation_id = "reload_certificates", tag = "certificates", responses(
    (status = 200, description = "What is on disk is served", body = Reloaded),
    (status = 409, description = "Something of it is not, and the old one is still served; the word for why stands in `reason`", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn reload(State(handles): State<Handles>, caller: Caller) -> Response {
    let attempts = handles.certificates.reload(&caller).await;
    let failed: Vec<_> = attempts
        .iter()
        .filter(|attempt| attempt.error.is_some())
        .collect();
    if let Some(first) = failed.first() {
        let errors: Vec<_> = failed
            .iter()
            .filter_map(|attempt| attempt.error.as_deref())
            .collect();
        let what = if attempts.len() == failed.len() {
            "nothing was changed".to_owned()
        } else {
            format!("{} of {} parts failed", failed.len(), attempts.len())
        };
        let problem = Problem::new(
            StatusCode::CONFLICT,
            format!(
                "{what}, generation {} is still served: {}",
                first.generation,
                errors.join("; ")
            ),
        );
        return problem
            .reason(first.reason.unwrap_or("failed"))
            .into_response();
    }
    Json(Reloaded::of(attempts)).into_response()
}

/// The body of a reload that went well: its most telling part, and all of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reloaded {
    #[serde(flatten)]
    #[schema(ignore)]
    telling: Option<AttemptView>,
    /// All parts.
    attempts: Vec<AttemptView>,
}

impl Reloaded {
    fn of(attempts: Vec<AttemptView>) -> Self {
        let is_telling = |attempt: &&AttemptView| attempt.result == "published";
        Self {
            telling: attempts
                .iter()
                .find(is_telling)
                .or_else(|| attempts.first())
                .cloned(),
            attempts,
        }
    }
}
