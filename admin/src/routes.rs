//! The two planes as pure functions from handles to a router, so that tests need no socket. What a handler says of itself is
//! its line in the OpenAPI document, too.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::guard::{self, Access};
use crate::handles::Handles;
use crate::{
    app, certificates, configuration, health, inflight, json, log_level, logs, metrics, openapi,
    page, problem, status, target,
};

/// The admin plane: reads and changes, for whoever `access` lets in.
pub fn admin(handles: Handles, access: Arc<Access>) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(openapi::frame())
        .merge(readable())
        .routes(routes!(page::show))
        .routes(routes!(status::show))
        .routes(routes!(status::drain))
        .routes(routes!(logs::show))
        .routes(routes!(inflight::show))
        .routes(routes!(target::show, target::change, target::revert))
        .routes(routes!(target::confirm))
        .routes(routes!(certificates::show))
        .routes(routes!(certificates::reload))
        .routes(routes!(configuration::show))
        .routes(routes!(log_level::show, log_level::change))
        .routes(routes!(openapi::show))
        .split_for_parts();
    let document = openapi::Document::new(document, access.needs_token());
    let router = router
        .layer(Extension(document))
        .layer(DefaultBodyLimit::max(json::MAX_BODY));
    finish(router, handles).layer(from_fn_with_state(access, guard::admit))
}

/// The probe plane: what the kubelet and Prometheus may read without a credential.
pub fn probe(handles: Handles, access: Arc<Access>) -> Router {
    let (router, _) = readable().split_for_parts();
    finish(router, handles).layer(from_fn_with_state(access, guard::moderate))
}

fn readable() -> OpenApiRouter<Handles> {
    OpenApiRouter::default()
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(app::show))
        .routes(routes!(metrics::scrape))
}

fn finish(router: Router<Handles>, handles: Handles) -> Router {
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(handles)
}
