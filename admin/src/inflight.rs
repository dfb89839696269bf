//! `GET /inflight`: what is open now, oldest first. It answers "what is the drain waiting for".

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::handles::Handles;
use crate::logs::most;
use crate::problem::Problem;
use crate::views::InflightView;

/// The parameters of the query.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// Entries at most; 1000 when nothing is said.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 1000000)]
    limit: Option<String>,
}

/// What is open now
///
/// Oldest first: what the drain waits for.
#[utoipa::path(get, path = "/inflight", operation_id = "inflight", tag = "records",
    params(Parameters),
    responses(
    (status = 200, description = "Exchanges and tunnels", body = InflightView),
    (status = 400, description = "A parameter that there is not, or a bad value", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn show(
    State(handles): State<Handles>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<InflightView>, Problem> {
    let Query(parameters) = parameters.map_err(|error| Problem::bad_query(&error))?;
    let limit = match parameters.limit {
        None => LIMIT,
        Some(text) => most(&text).ok_or_else(|| {
            Problem::bad_value("limit", &text, "a number of entries up to 1000000")
        })?,
    };
    let mut view = handles.inflight.open(limit).await;
    view.entries.truncate(limit);
    Ok(Json(view))
}

/// Entries shown where nothing else is asked for.
const LIMIT: usize = 1000;

#[cfg(test)]
mod tests {
    use http::Uri;
    use serde_json::json;

    use super::*;
    use crate::fakes::{History, handles};

    async fn ask(uri: &'static str) -> Result<serde_json::Value, Problem> {
        let parameters = Query::try_from_uri(&Uri::from_static(uri));
        let view = show(State(handles(History::of(1))), parameters).await?;
        Ok(serde_json::to_value(view.0).unwrap())
    }

    #[tokio::test]
    async fn what_is_open_is_shown_oldest_first_without_what_is_not_known() {
        assert_eq!(
            ask("/inflight?limit=1").await.unwrap(),
            json!({
                "total": 2,
                "workers_asked": 2,
                "workers_answered": 1,
                "entries": [{
                    "id": "older",
                    "kind": "tunnel",
                    "age_ms": 12,
                    "client": "192.0.2.1",
                    "http": "1.1",
                    "waiting_for": "upstream",
                    "bytes_in": 3
                }]
            })
        );
        let all = ask("/inflight").await.unwrap();
        assert_eq!(all["entries"].as_array().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_limit_that_is_none_and_an_unknown_parameter_are_refused() {
        for (uri, hint) in [
            ("/inflight?limit=-1", "limit=-1 is not a number of entries"),
            ("/inflight?age=1", "unknown field `age`, expected `limit`"),
        ] {
            let problem = format!("{:?}", ask(uri).await.unwrap_err());
            assert!(
                problem.contains("status: 400") && problem.contains(hint),
                "{problem}"
            );
        }
    }
}
