//! The two planes as pure functions from handles to a router, so that tests need no socket.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};

use crate::handles::Handles;
use crate::{app, certs, guard, health, inflight, logs, metrics, problem, status, target};

/// The admin plane: reads and changes.
pub fn admin(handles: Handles) -> Router {
    let changing = Router::new()
        .route("/status", get(status::show))
        .route("/logs", get(logs::show))
        .route("/inflight", get(inflight::show))
        .route("/target", get(target::show).put(target::change))
        .route("/certs", get(certs::show))
        .route("/certs/reload", post(certs::reload))
        .layer(DefaultBodyLimit::max(MAX_BODY));
    finish(readable().merge(changing), handles).layer(from_fn(guard::same_origin))
}

/// The probe plane: what the kubelet and Prometheus may read without a credential.
pub fn probe(handles: Handles) -> Router {
    finish(readable(), handles)
}

fn readable() -> Router<Handles> {
    Router::new()
        .route("/healthz", get(health::live))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/app", get(app::show))
        .route("/metrics", get(metrics::scrape))
}

fn finish(router: Router<Handles>, handles: Handles) -> Router {
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(handles)
}

/// Bytes of a request body; the largest change is a few hundred.
const MAX_BODY: usize = 64 * 1024;
