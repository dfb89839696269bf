//! Whether a request asks to go on in another protocol.

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue};

use super::options::has_option;

/// The protocol that a request of HTTP/1.1 asks to go on in, if it is exactly one and not another way to speak HTTP or TLS
/// past us (RFC 9110, section 7.8).
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut wanted = headers.get_all(UPGRADE).iter();
    let token = wanted.next().filter(|_| wanted.next().is_none())?;
    let text = token.to_str().ok()?.to_ascii_lowercase();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
    let is_ours = text == "h2c" || text.starts_with("http/") || text.starts_with("tls/");
    let is_named = has_option(headers, "upgrade");
    (is_named && !text.is_empty() && text.bytes().all(is_token) && !is_ours).then(|| token.clone())
}
