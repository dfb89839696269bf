//! Every way an exchange or a handshake can fail: one word for records and metrics, one status, one sentence for the
//! client, and whose fault it was. Decided here and nowhere else.

mod told;

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
    /// The request body comes too slowly.
    BodyTooSlow,
    /// The request body is larger than allowed.
    BodyTooLarge,
    /// The request body's framing broke: a bad chunk.
    BadFraming,
    /// The request head is malformed.
    BadRequest,
    /// The client went away before the end.
    ClientGone,
    /// The client has stopped reading.
    ClientStalled,
    /// The client reads too slowly.
    ClientTooSlow,
    /// Cut at the end of the drain.
    DrainCut,
    /// The request head did not arrive in time.
    HeadTimeout,
    /// The request head is larger than allowed.
    HeadTooLarge,
    /// The request head has more fields than allowed.
    TooManyFields,
    /// The client breaks the rules of HTTP/2, and the connection ended.
    H2Error,
    /// The client keeps the connection busy with what leads to nothing.
    H2Abuse,
    /// The client has more streams open than allowed.
    TooManyStreams,
    /// The Host is missing, repeated or malformed.
    BadHost,
    /// CONNECT or TRACE.
    MethodRefused,
    /// A panic in our own code.
    Internal,
    /// As many requests are in flight as may be.
    Overloaded,
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
    /// The target's name leads where no target may be.
    UpstreamForbidden,
    /// The application closed before it had answered.
    UpstreamClosed,
    /// The application's answer is not HTTP.
    UpstreamMalformed,
    /// The application did not answer in time.
    UpstreamTimeout,
    /// The application reset the request's stream.
    UpstreamReset,
    /// The application does not change to the protocol that the client wants.
    UpstreamNoUpgrade,
    /// The application's response ended before its end.
    UpstreamTruncated,
    /// The application's response stopped coming.
    UpstreamStalled,
    /// The request target is longer than allowed.
    UriTooLong,
    /// The handshake did not end in time.
    HandshakeTimeout,
    /// The client ended the connection in the handshake.
    HandshakeGone,
    /// Too many handshakes at once.
    HandshakesFull,
    /// The client's bytes are not TLS.
    NotTls,
    /// Plain HTTP came to the HTTPS port.
    PlainHttp,
    /// A load balancer's PROXY header is missing or malformed.
    BadProxyHeader,
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
    /// Whether the client of a refused handshake was sent an alert that says why.
    pub(crate) fn is_told_by_alert(self) -> bool {
        !matches!(
            self,
            Self::HandshakeGone
                | Self::HandshakeTimeout
                | Self::HandshakesFull
                | Self::DrainCut
                | Self::ClientAlert
                | Self::NotTls
                | Self::BadProxyHeader
        )
    }

    /// Whose fault it was.
    pub(crate) fn side(self) -> Side {
        match self {
            Self::DrainCut
            | Self::Internal
            | Self::Overloaded
            | Self::UpstreamExhausted
            | Self::UpstreamLoop
            | Self::UpstreamForbidden
            | Self::HandshakesFull
            | Self::NoCertificate => Side::Proxy,
            Self::UpstreamRefused
            | Self::UpstreamConnectTimeout
            | Self::UpstreamUnreachable
            | Self::UpstreamClosed
            | Self::UpstreamMalformed
            | Self::UpstreamTimeout
            | Self::UpstreamReset
            | Self::UpstreamNoUpgrade
            | Self::UpstreamTruncated
            | Self::UpstreamStalled => Side::Upstream,
            _ => Side::Client,
        }
    }
}
