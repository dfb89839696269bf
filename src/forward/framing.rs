//! How bodies are framed. Promise 4 on the application's side: what it sends must be readable in one way, too.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use crate::http::content_length;

/// The length of the body, where the head says one.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(CONTENT_LENGTH)?;
    content_length(length.as_bytes())
}

/// Whether a response has one length, or one coding, or neither. One with both would be read as chunked, and a client might
/// read it by its length.
pub(super) fn is_framed_once(headers: &HeaderMap) -> bool {
    let (mut coding, mut length) = (None, None);
    for (name, value) in headers {
        let seen = match *name {
            TRANSFER_ENCODING => coding.replace(value),
            CONTENT_LENGTH => length.replace(value),
            _ => continue,
        };
        if seen.is_some() {
            return false;
        }
    }
    match (coding, length) {
        (None, None) => true,
        (None, Some(length)) => {
            !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit)
        }
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}
