//! Whether a message belongs to a call of gRPC.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

/// `application/grpc`, with a suffix or a parameter or without; gRPC-Web has a name of its own.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    let rest = rest.map(|rest| rest.strip_prefix(b"-web").unwrap_or(rest));
    matches!(rest, Some([] | [b'+' | b';', ..]))
}
