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
    /// The request body stopped coming.
    BodyTimeout,
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
    /// Out of file descriptors for a connection to the target.
    UpstreamExhausted,
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
    /// A client certificate is needed, and none was shown.
    ClientCertificateMissing,
    /// Nobody we trust issued the client's certificate.
    ClientIssuerUnknown,
    /// The client's certificate is past its end.
    ClientCertificateExpired,
    /// The time of the client's certificate has not come.
    ClientCertificateNotYetValid,
    /// The client's certificate is revoked.
    ClientCertificateRevoked,
    /// No current CRL covers the client's certificate.
    ClientRevocationUnknown,
    /// The client's certificate has no name that is allowed.
    ClientNameNotAllowed,
    /// Any other fault of the client's certificate.
    ClientCertificateInvalid,
    /// The client was let in, and would not be any more.
    ClientNotTrusted,
    /// The authority is another certificate's than the one shown.
    Misdirected,
    /// Any other fault of the handshake.
    HandshakeFailed,
}

impl Reason {
    /// The stable word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::BodyTimeout => "body_timeout",
            Self::BadFraming => "bad_framing",
            Self::BadRequest => "bad_request",
            Self::ClientGone => "client_gone",
            Self::DrainCut => "drain_cut",
            Self::HeadTimeout => "head_timeout",
            Self::HeadTooLarge => "head_too_large",
            Self::BadHost => "bad_host",
            Self::MethodRefused => "method_refused",
            Self::Internal => "internal",
            Self::UpstreamRefused => "upstream_refused",
            Self::UpstreamConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamExhausted => "upstream_exhausted",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamLoop => "upstream_loop",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamTruncated => "upstream_truncated",
            Self::UriTooLong => "uri_too_long",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeGone => "handshake_gone",
            Self::NotTls => "not_tls",
            Self::NothingInCommon => "nothing_in_common",
            Self::NoCertificate => "no_certificate",
            Self::ClientAlert => "client_alert",
            Self::ClientCertificateMissing => "client_certificate_missing",
            Self::ClientIssuerUnknown => "client_issuer_unknown",
            Self::ClientCertificateExpired => "client_certificate_expired",
            Self::ClientCertificateNotYetValid => "client_certificate_not_yet_valid",
            Self::ClientCertificateRevoked => "client_certificate_revoked",
            Self::ClientRevocationUnknown => "client_revocation_unknown",
            Self::ClientNameNotAllowed => "client_name_not_allowed",
            Self::ClientCertificateInvalid => "client_certificate_invalid",
            Self::ClientNotTrusted => "client_not_trusted",
            Self::Misdirected => "misdirected",
            Self::HandshakeFailed => "handshake_failed",
        }
    }

    /// What the client is told; `None` where nothing can be told any more.
    pub(crate) fn answer(self) -> Option<(StatusCode, &'static str)> {
        Some(match self {
            Self::BadFraming => (
                StatusCode::BAD_REQUEST,
                "the body of the request is not framed as its head says",
            ),
            Self::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "the body of the request stopped coming",
            ),
            Self::BadRequest => (
                StatusCode::BAD_REQUEST,
                "the head of the request is malformed",
            ),
            Self::BadHost => (
                StatusCode::BAD_REQUEST,
                "the request needs exactly one well-formed Host",
            ),
            Self::HeadTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "the head of the request did not arrive in time",
            ),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the head of the request is larger than --max-head or has more than 100 fields",
            ),
            Self::UriTooLong => (
                StatusCode::URI_TOO_LONG,
                "the request target is longer than --max-uri",
            ),
            Self::MethodRefused => (
                StatusCode::METHOD_NOT_ALLOWED,
                "this method is not forwarded",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the sidecar failed on this request",
            ),
            Self::UpstreamRefused => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the application does not take connections",
            ),
            Self::UpstreamExhausted => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the sidecar has no connection left for the application",
            ),
            Self::UpstreamUnreachable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the application cannot be reached",
            ),
            Self::UpstreamLoop => (StatusCode::BAD_GATEWAY, "the target is the sidecar itself"),
            Self::UpstreamConnectTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "connecting to the application took too long",
            ),
            Self::UpstreamClosed => (
                StatusCode::BAD_GATEWAY,
                "the application closed the connection before it had answered",
            ),
            Self::UpstreamMalformed => (
                StatusCode::BAD_GATEWAY,
                "the application's answer is not valid HTTP",
            ),
            Self::UpstreamTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "the application did not answer in time",
            ),
            Self::ClientCertificateMissing => (
                StatusCode::FORBIDDEN,
                "this path needs a client certificate",
            ),
            Self::ClientNotTrusted => (
                StatusCode::FORBIDDEN,
                "the client certificate of this connection is not trusted any more",
            ),
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "this host has a certificate of its own; ask for it on a connection of its own",
            ),
            Self::ClientGone
            | Self::DrainCut
            | Self::UpstreamTruncated
            | Self::HandshakeTimeout
            | Self::HandshakeGone
            | Self::NotTls
            | Self::NothingInCommon
            | Self::NoCertificate
            | Self::ClientAlert
            | Self::ClientIssuerUnknown
            | Self::ClientCertificateExpired
            | Self::ClientCertificateNotYetValid
            | Self::ClientCertificateRevoked
            | Self::ClientRevocationUnknown
            | Self::ClientNameNotAllowed
            | Self::ClientCertificateInvalid
            | Self::HandshakeFailed => return None,
        })
    }

    /// Whether the client of a refused handshake was sent an alert that says why.
    pub(crate) fn is_told_by_alert(self) -> bool {
        !matches!(
            self,
            Self::HandshakeGone
                | Self::HandshakeTimeout
                | Self::DrainCut
                | Self::ClientAlert
                | Self::NotTls
        )
    }

    /// Whose fault it was.
    pub(crate) fn side(self) -> Side {
        match self {
            Self::DrainCut
            | Self::Internal
            | Self::UpstreamExhausted
            | Self::UpstreamLoop
            | Self::NoCertificate => Side::Proxy,
            Self::UpstreamRefused
            | Self::UpstreamConnectTimeout
            | Self::UpstreamUnreachable
            | Self::UpstreamClosed
            | Self::UpstreamMalformed
            | Self::UpstreamTimeout
            | Self::UpstreamTruncated => Side::Upstream,
            _ => Side::Client,
        }
    }
}
