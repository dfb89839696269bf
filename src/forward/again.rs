//! Requests that may be sent once more, and what that takes.

use std::time::Duration;

use http::Request;
use http::header::HeaderName;
use http_body::Body;

use super::Errand;
use super::framing::length;
use crate::http::RequestBody;

/// Whether a request may be sent twice: its method says so (RFC 9110, section 9.2.2), or its client, who has given it a key to
/// be known by.
pub(super) fn is_repeatable(request: &Request<RequestBody>) -> bool {
    request.method().is_idempotent() || request.headers().contains_key(IDEMPOTENCY_KEY)
}

/// Keeps a short body, so that it can be sent again.
pub(super) async fn keep_short(request: &mut Request<RequestBody>, errand: &Errand<'_>) {
    let most = errand.worker.config.limits.spool;
    let is_short = length(request.headers()).is_some_and(|length| length <= most as u64);
    if is_short && errand.gate.is_none() && !request.body().is_end_stream() {
        Box::pin(request.body_mut().gather(most, SPOOL_PATIENCE)).await;
    }
}

/// For a short body to come whole.
pub(super) const SPOOL_PATIENCE: Duration = Duration::from_millis(100);
/// <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
