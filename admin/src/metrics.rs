//! `GET /metrics`: Prometheus text by default, OpenMetrics when asked for.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};

use crate::accept::Accept;
use crate::handles::{Handles, MetricsFormat};

/// The metrics
///
/// Prometheus text 0.0.4, or OpenMetrics where `Accept` asks for it.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operation", responses(
    (status = 200, description = "All of them", content((String = "text/plain"), (String = "application/openmetrics-text"))),
))]
pub(crate) async fn scrape(State(handles): State<Handles>, headers: HeaderMap) -> Response {
    let accept = Accept::of(&headers);
    let (format, kind) = if accept.prefers("application/openmetrics-text", "text/plain") {
        (
            MetricsFormat::OpenMetrics,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )
    } else {
        (
            MetricsFormat::Prometheus,
            "text/plain; version=0.0.4; charset=utf-8",
        )
    };
    (
        [(header::CONTENT_TYPE, kind)],
        handles.metrics.render(format),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use http::HeaderValue;

    use super::*;
    use crate::fakes::{History, handles};

    #[tokio::test]
    async fn prometheus_gets_openmetrics_and_a_shell_gets_plain_text() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, kind, format) in [
            (
                Some(prometheus),
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                "OpenMetrics",
            ),
            (
                Some("*/*"),
                "text/plain; version=0.0.4; charset=utf-8",
                "Prometheus",
            ),
            (
                None,
                "text/plain; version=0.0.4; charset=utf-8",
                "Prometheus",
            ),
        ] {
            let accept = accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept)));
            let response =
                scrape(State(handles(History::of(1))), accept.into_iter().collect()).await;
            assert_eq!(response.headers()[header::CONTENT_TYPE], kind);
            assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), format);
        }
    }
}
