//! What everybody is told of a failure: a word in records and metrics, a status and a sentence for the client.

use http::StatusCode;

use super::Reason;

impl Reason {
    /// The stable word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyTooLarge => "body_too_large",
            Self::BadFraming => "bad_framing",
            Self::BadRequest => "bad_request",
            Self::ClientGone => "client_gone",
            Self::ClientStalled => "client_stalled",
            Self::ClientTooSlow => "client_too_slow",
            Self::DrainCut => "drain_cut",
            Self::HeadTimeout => "head_timeout",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::H2Error => "h2_error",
            Self::H2Abuse => "h2_abuse",
            Self::TooManyStreams => "too_many_streams",
            Self::BadHost => "bad_host",
            Self::MethodRefused => "method_refused",
            Self::Internal => "internal",
            Self::Overloaded => "overloaded",
            Self::UpstreamRefused => "upstream_refused",
            Self::UpstreamConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamExhausted => "upstream_exhausted",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamLoop => "upstream_loop",
            Self::UpstreamForbidden => "upstream_forbidden",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamNoUpgrade => "upstream_no_upgrade",
            Self::UpstreamTruncated => "upstream_truncated",
            Self::UpstreamStalled => "upstream_stalled",
            Self::UriTooLong => "uri_too_long",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeGone => "handshake_gone",
            Self::HandshakesFull => "handshakes_full",
            Self::NotTls => "not_tls",
            Self::PlainHttp => "plain_http",
            Self::BadProxyHeader => "bad_proxy_header",
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
                "the body of the request stopped coming for --stall-timeout",
            ),
            Self::BodyTooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "the body of the request came slower than --min-rate",
            ),
            Self::BodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body of the request is larger than --max-body",
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
                "the head of the request did not arrive within --head-timeout",
            ),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the head of the request is larger than --max-head or --h2-header-list",
            ),
            Self::TooManyFields => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the head of the request has more fields than --max-headers",
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
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "as many requests are in flight as --max-requests allows",
            ),
            Self::UpstreamRefused => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the application does not take connections, nor did it within --connect-retry-for",
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
            Self::UpstreamForbidden => (
                StatusCode::BAD_GATEWAY,
                "the name of the target leads where no target may be",
            ),
            Self::UpstreamConnectTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "connecting to the application took longer than --connect-timeout",
            ),
            Self::UpstreamClosed => (
                StatusCode::BAD_GATEWAY,
                "the application closed the connection before it had answered",
            ),
            Self::UpstreamMalformed => (
                StatusCode::BAD_GATEWAY,
                "the application's answer is not valid HTTP",
            ),
            Self::UpstreamReset => (
                StatusCode::BAD_GATEWAY,
                "the application reset the request before it had answered",
            ),
            Self::UpstreamNoUpgrade => (
                StatusCode::BAD_GATEWAY,
                "the application does not change to the protocol that was asked for",
            ),
            Self::PlainHttp => (
                StatusCode::BAD_REQUEST,
                "this port speaks HTTPS; a request like this cannot be redirected, send it to https://",
            ),
            Self::UpstreamTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "the application did not answer within --response-timeout",
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
            | Self::ClientStalled
            | Self::ClientTooSlow
            | Self::H2Error
            | Self::H2Abuse
            | Self::TooManyStreams
            | Self::DrainCut
            | Self::UpstreamTruncated
            | Self::UpstreamStalled
            | Self::HandshakeTimeout
            | Self::HandshakeGone
            | Self::HandshakesFull
            | Self::NotTls
            | Self::BadProxyHeader
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
}
