//! `GET /metrics`: Prometheus text by default, OpenMetrics when asked for.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};

use crate::handles::{Handles, MetricsFormat};

pub(crate) async fn scrape(State(handles): State<Handles>, headers: HeaderMap) -> Response {
    let wants_open = headers.get_all(header::ACCEPT).iter().any(|accept| {
        accept
            .to_str()
            .is_ok_and(|accept| accept.contains("application/openmetrics-text"))
    });
    let (format, kind) = if wants_open {
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
