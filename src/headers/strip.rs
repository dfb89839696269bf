//! What must not pass: hop-by-hop fields, and everything by which a client could speak in our name.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, TRAILER, TRANSFER_ENCODING,
};

use super::options::options;

/// Holds trailers, of requests and responses, to the rules for fields; what frames or routes a message has no place among
/// them at all (RFC 9110, section 6.5.1).
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    strip_claims(trailers, false);
    for name in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, EXPECT] {
        trailers.remove(name);
    }
}

/// RFC 9110, section 7.6.1: `Connection` and what it names, and the fields that are hop-by-hop by themselves. What
/// frames or routes the message stays, whatever `Connection` says.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = options(headers)
            .filter(|option| !is_usual(option))
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            .filter(|name| !matches!(*name, HOST | CONTENT_LENGTH | TRANSFER_ENCODING))
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    // Most messages have none of them; looking each up would cost more than looking at all there are.
    remove_where(headers, |name| {
        matches!(
            name.as_str(),
            "keep-alive"
                | "proxy-connection"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "te"
                | "upgrade"
                | "http2-settings"
        )
    });
}

/// What most connections say that have something to say; fields of these names go in any case.
fn is_usual(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"upgrade")
}

/// Removes every field by which a client could speak in our name, in every spelling that somebody folds together; other
/// underscores stay. Returns how many were spelt so that they look like none of ours.
/// Of a trusted proxy what it says of the client's request stays, but not who the client is.
pub(super) fn strip_claims(headers: &mut HeaderMap, is_trusted: bool) -> u64 {
    let mut disguised = 0;
    let is_claim = |name: &HeaderName| {
        let folded = folded(name);
        let is_disguised = matches!(folded, Cow::Owned(_));
        let is_forwarding =
            folded.starts_with("x-forwarded-") && !folded.starts_with("x-forwarded-client-cert");
        if is_trusted && is_forwarding && !is_disguised {
            return false;
        }
        let is_claim = is_reserved(&folded) || (is_disguised && is_between_neighbours(&folded));
        disguised += u64::from(is_claim && is_disguised);
        is_claim
    };
    remove_where(headers, is_claim);
    disguised
}

/// Fields by which some frameworks take another path than the one that was asked for. A path that is open to everybody must
/// not open others.
pub(crate) fn strip_other_paths(headers: &mut HeaderMap) {
    let is_path = |name: &HeaderName| {
        matches!(
            &*folded(name),
            "x-original-url" | "x-original-uri" | "x-rewrite-url" | "x-override-url"
        )
    };
    remove_where(headers, is_path);
}

fn remove_where(headers: &mut HeaderMap, mut is_it: impl FnMut(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_it(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// A name as gateways of CGI's kind see it. PHP and WSGI fold `-`, `_` and `.` together (GHSA-f59h-q822-g45g), lighttpd
/// everything that is no letter and no digit: `X!Forwarded!For` is `X-Forwarded-For` to it.
fn folded(name: &HeaderName) -> Cow<'_, str> {
    let is_odd = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    let name = name.as_str();
    if name.contains(is_odd) {
        name.replace(is_odd, "-").into()
    } else {
        name.into()
    }
}

/// Names we set, names that carry a client's identity, and `Proxy`, which CGI turns into `HTTP_PROXY` (httpoxy).
fn is_reserved(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || is_client_identity(name)
        || matches!(
            name,
            "client-cert"
                | "client-cert-chain"
                | "forwarded"
                | "proxy"
                | "x-real-ip"
                | "x-request-id"
        )
}

/// What is between two neighbours, under any spelling; and what B3 tells of a trace, which may be ours.
fn is_between_neighbours(name: &str) -> bool {
    FRAMING.contains(&name)
        || B3.contains(&name)
        || matches!(
            name,
            "proxy-authenticate" | "proxy-authorization" | "proxy-connection" | "http2-settings"
        )
}

/// Where other proxies put what they know of a client's certificate, and applications look for it: these, and names that
/// begin so and go on with `-`.
fn is_client_identity(name: &str) -> bool {
    CLIENT_IDENTITY.iter().any(|known| {
        name.strip_prefix(known)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

/// What frames or routes a message.
pub(super) const FRAMING: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

/// What of B3 has a name that can be spelt differently.
const B3: [&str; 5] = [
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
];

const CLIENT_IDENTITY: [&str; 18] = [
    "ssl-cert",
    "ssl-client",
    "x-amzn-mtls",
    "x-arr-clientcert",
    "x-client-cert",
    "x-client-certificate",
    "x-client-dn",
    "x-client-subject",
    "x-client-verify",
    "x-clientcert",
    "x-ssl-cert",
    "x-ssl-certificate",
    "x-ssl-client",
    "x-ssl-issuer",
    "x-ssl-subject",
    "x-tls-client-cert",
    "x-tls-client-dn",
    "x-tls-client-verify",
];
