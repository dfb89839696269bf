//! What a client has asked for, as it did.

use std::borrow::Cow;
use std::time::Instant;

use http::header::{HOST, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use memchr::memmem;

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
    /// A request. Where it is traced, the trace itself knows what came of one.
    pub(super) fn new(
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
        policy: &Policy,
        is_traced: bool,
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
                .filter(|value| !is_traced && is_traceparent(value))
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

    /// Whether whoever sent it says that the trace is kept.
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

    /// Without what may stand in front of it: credentials.
    pub(crate) fn host(&self) -> Option<&[u8]> {
        let host = self.host.as_ref()?.as_bytes();
        let start = memchr::memrchr(b'@', host).map_or(0, |at| at + 1);
        Some(&host[start..])
    }

    /// Without its query, and with no credentials in its authority either.
    pub(super) fn referer(&self) -> Option<Cow<'_, [u8]>> {
        let referer = self.referer.as_ref()?.as_bytes();
        let end = memchr::memchr2(b'?', b'#', referer).unwrap_or(referer.len());
        let referer = &referer[..end];
        let authority = memmem::find(referer, b"//").map_or(0, |at| at + 2);
        let end = memchr::memchr(b'/', &referer[authority..]).map_or(end, |at| authority + at);
        Some(match memchr::memrchr(b'@', &referer[authority..end]) {
            Some(at) => [&referer[..authority], &referer[authority + at + 1..]]
                .concat()
                .into(),
            None => referer.into(),
        })
    }

    pub(crate) fn path(&self) -> Option<&[u8]> {
        self.uri.as_ref().map(|uri| uri.path().as_bytes())
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// W3C Trace Context: version, 32 hex digits of trace id, 16 of parent id, 2 of flags. No id is all zeros, and no version ff.
fn is_traceparent(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let is_nothing = |id: &[u8]| id.iter().all(|digit| *digit == b'0');
    bytes.len() == 55
        && !bytes.starts_with(b"ff")
        && !is_nothing(&bytes[3..35])
        && !is_nothing(&bytes[36..52])
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            2 | 35 | 52 => *byte == b'-',
            _ => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
        })
}
