//! What a client has asked for, as it did.

use std::time::Instant;

use http::header::{HOST, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use super::policy::{Noted, Policy};

/// As much of a request as could be read.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(super) method: Option<Method>,
    pub(super) host: Option<HeaderValue>,
    pub(super) uri: Option<Uri>,
    pub(super) version: Option<Version>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) referer: Option<HeaderValue>,
    pub(super) traceparent: Option<HeaderValue>,
    /// What `--log-header` names.
    pub(super) headers: Noted,
    /// When it was read.
    pub(super) at: Option<Instant>,
}

impl Asked {
    /// A request.
    pub(super) fn new(
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
        policy: &Policy,
    ) -> Self {
        Self {
            method: Some(method.clone()),
            uri: Some(uri.clone()),
            version: Some(version),
            host: match uri.authority() {
                Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
                None => headers.get(HOST).cloned(),
            },
            user_agent: headers.get(USER_AGENT).cloned(),
            referer: headers.get(REFERER).cloned(),
            traceparent: headers
                .get(TRACEPARENT)
                .filter(|value| is_traceparent(value))
                .cloned(),
            headers: policy.note(headers),
            at: Some(Instant::now()),
        }
    }

    /// What can be read of a head that was refused before anything parsed it.
    pub(super) fn refused(bytes: &[u8]) -> Self {
        let line = bytes
            .split(|byte| *byte == b'\r' || *byte == b'\n')
            .next()
            .unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ');
        Self {
            method: words
                .next()
                .filter(|word| word.len() <= 32)
                .and_then(|word| Method::from_bytes(word).ok()),
            uri: words.next().and_then(|word| Uri::try_from(word).ok()),
            ..Self::default()
        }
    }

    /// Nothing but how it was to be read.
    pub(super) fn unread(version: Version) -> Self {
        Self {
            version: Some(version),
            ..Self::default()
        }
    }

    /// The id of the trace that this is a part of, 32 hex digits.
    pub(super) fn trace_id(&self) -> Option<&str> {
        self.traceparent.as_ref()?.to_str().ok()?.get(3..35)
    }

    /// Whether whoever began the trace keeps it.
    pub(super) fn is_sampled(&self) -> bool {
        let flags = self.traceparent.as_ref().map(|value| value.as_bytes()[54]);
        flags.is_some_and(|digit| {
            matches!(digit, b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f')
        })
    }

    /// For records.
    pub(crate) fn http(&self) -> Option<&'static str> {
        self.version.map(|version| match version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        })
    }

    pub(crate) fn method(&self) -> Option<&str> {
        self.method.as_ref().map(Method::as_str)
    }

    pub(crate) fn host(&self) -> Option<&[u8]> {
        self.host.as_ref().map(HeaderValue::as_bytes)
    }

    pub(crate) fn path(&self) -> Option<&[u8]> {
        self.uri.as_ref().map(|uri| uri.path().as_bytes())
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// W3C Trace Context: version, 32 hex digits of trace id, 16 of parent id, 2 of flags.
fn is_traceparent(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    bytes.len() == 55
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => *byte == b'-',
            _ => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
        })
}
