//! Every way an exchange or a handshake can fail: one word for records and metrics, one status, one sentence for the
//! client, and whose fault it was. Decided here and nowhere else.

use http::StatusCode;

/// Who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client.
    Client,
    /// The application.
    Upstream,
    /// Portcullis itself.
    Proxy,
}

impl Side {
    /// For the record's `closed_by`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
        }
    }
}

/// Why it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The request body's framing broke: a bad chunk.
    BadFraming,
    /// The request head is malformed.
    BadRequest,
    /// The client went away before the end.
    ClientGone,
    /// Cut at the end of the drain.
    DrainCut,
    /// The request head did not arrive in time.
    HeadTimeout,
    /// The request head is larger than allowed.
    HeadTooLarge,
    /// The Host is missing, repeated or malformed.
    BadHost,
    /// CONNECT or TRACE.
    MethodRefused,
    /// A panic in our own code.
    Internal,
    /// The target does not take connections.
    UpstreamRefused,
    /// Connecting to the target took too long.
    UpstreamConnectTimeout,
    /// The target cannot be reached.
    UpstreamUnreachable,
    /// The target is Portcullis itself.
    UpstreamLoop,
    /// The application closed before it had answered.
    UpstreamClosed,
    /// The application's answer is not HTTP.
    UpstreamMalformed,
    /// The application did not answer in time.
    UpstreamTimeout,
    /// The application's response ended before its end.
    UpstreamTruncated,
    /// The request target is longer than allowed.
    UriTooLong,
    /// The handshake did not end in time.
    HandshakeTimeout,
    /// The client ended the connection in the handshake.
    HandshakeGone,
    /// The client's bytes are not TLS.
    NotTls,
    /// Nothing in common: version, cipher or ALPN.
    NothingInCommon,
    /// There is no certificate yet.
    NoCertificate,
    /// The client refused our certificate or gave an alert.
    ClientAlert,
    /// Any other fault of the handshake.
    HandshakeFailed,
}

use Reason as R;

impl Reason {
    /// The stable word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            R::BadFraming => "bad_framing",
            R::BadRequest => "bad_request",
            R::ClientGone => "client_gone",
            R::DrainCut => "drain_cut",
            R::HeadTimeout => "head_timeout",
            R::HeadTooLarge => "head_too_large",
            R::BadHost => "bad_host",
            R::MethodRefused => "method_refused",
            R::Internal => "internal",
            R::UpstreamRefused => "upstream_refused",
            R::UpstreamConnectTimeout => "upstream_connect_timeout",
            R::UpstreamUnreachable => "upstream_unreachable",
            R::UpstreamLoop => "upstream_loop",
            R::UpstreamClosed => "upstream_closed",
            R::UpstreamMalformed => "upstream_malformed",
            R::UpstreamTimeout => "upstream_timeout",
            R::UpstreamTruncated => "upstream_truncated",
            R::UriTooLong => "uri_too_long",
            R::HandshakeTimeout => "handshake_timeout",
            R::HandshakeGone => "handshake_gone",
            R::NotTls => "not_tls",
            R::NothingInCommon => "nothing_in_common",
            R::NoCertificate => "no_certificate",
            R::ClientAlert => "client_alert",
            R::HandshakeFailed => "handshake_failed",
        }
    }

    /// What the client is told; `None` where nothing can be told any more.
    pub(crate) fn answer(self) -> Option<(StatusCode, &'static str)> {
        Some(match self {
            R::BadFraming => (
                StatusCode::BAD_REQUEST,
                "the body of the request is not framed as its head says",
            ),
            R::BadRequest => (
                StatusCode::BAD_REQUEST,
                "the head of the request is malformed",
            ),
            R::BadHost => (
                StatusCode::BAD_REQUEST,
                "the request needs exactly one well-formed Host",
            ),
            R::HeadTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "the head of the request did not arrive in time",
            ),
            R::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the head of the request is larger than --max-head or has more than 100 fields",
            ),
            R::UriTooLong => (
                StatusCode::URI_TOO_LONG,
                "the request target is longer than --max-uri",
            ),
            R::MethodRefused => (
                StatusCode::METHOD_NOT_ALLOWED,
                "this method is not forwarded",
            ),
            R::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the sidecar failed on this request",
            ),
            R::UpstreamRefused => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the application does not take connections",
            ),
            R::UpstreamUnreachable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the application cannot be reached",
            ),
            R::UpstreamLoop => (StatusCode::BAD_GATEWAY, "the target is the sidecar itself"),
            R::UpstreamConnectTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "connecting to the application took too long",
            ),
            R::UpstreamClosed => (
                StatusCode::BAD_GATEWAY,
                "the application closed the connection before it had answered",
            ),
            R::UpstreamMalformed => (
                StatusCode::BAD_GATEWAY,
                "the application's answer is not valid HTTP",
            ),
            R::UpstreamTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "the application did not answer in time",
            ),
            R::ClientGone
            | R::DrainCut
            | R::UpstreamTruncated
            | R::HandshakeTimeout
            | R::HandshakeGone
            | R::NotTls
            | R::NothingInCommon
            | R::NoCertificate
            | R::ClientAlert
            | R::HandshakeFailed => return None,
        })
    }

    /// Whose fault it was.
    pub(crate) fn side(self) -> Side {
        match self {
            R::DrainCut | R::Internal | R::UpstreamLoop | R::NoCertificate => Side::Proxy,
            R::UpstreamRefused
            | R::UpstreamConnectTimeout
            | R::UpstreamUnreachable
            | R::UpstreamClosed
            | R::UpstreamMalformed
            | R::UpstreamTimeout
            | R::UpstreamTruncated => Side::Upstream,
            _ => Side::Client,
        }
    }
}
