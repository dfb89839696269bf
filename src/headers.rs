//! What is changed in the fields of a request and a response on their way, and nothing else is: strip first, then set.
//!
//! Order matters. Hop-by-hop fields go first, also those the client names in `Connection`, so that it cannot make us
//! remove what we set (CVE-2024-45410). Then everything by which a client could speak in our name goes, in every spelling
//! that a legacy gateway folds together. Only then our own fields are set.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, STRICT_TRANSPORT_SECURITY, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use http_body::Body;

use crate::failure::Reason;

/// What the sidecar says of a request, in its own name.
#[derive(Debug)]
pub(crate) struct OwnWords<'a> {
    pub(crate) client: IpAddr,
    pub(crate) request_id: &'a str,
    /// The port clients see where the authority names none.
    pub(crate) public_port: u16,
    /// The Host for an HTTP/1.0 request without one.
    pub(crate) default_host: &'a str,
}

/// Makes a client's request one for the application.
pub(crate) fn to_upstream<B: Body>(
    request: &mut Request<B>,
    own: &OwnWords<'_>,
) -> Result<(), Reason> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Reason::MethodRefused);
    }
    let authority = authority(request)?;
    let trailers = request
        .headers()
        .get_all(TE)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    if request.headers().get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Reason::BadRequest);
    }
    join_cookies(request.headers_mut());
    strip_hop_by_hop(request.headers_mut());
    request.headers_mut().remove(EXPECT);
    strip_claims(request.headers_mut());
    if trailers {
        request
            .headers_mut()
            .insert(TE, HeaderValue::from_static("trailers"));
    }
    frame(request);
    set_own(request.headers_mut(), authority, own);
    *request.uri_mut() = origin_form(request.uri());
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// Makes the application's response one for the client.
pub(crate) fn to_downstream(status: StatusCode, headers: &mut HeaderMap, hsts: Option<Duration>) {
    strip_hop_by_hop(headers);
    headers.remove(TRANSFER_ENCODING);
    if status == StatusCode::NO_CONTENT {
        // RFC 9110, section 8.6; HTTP/2 clients take the missing body for a broken one.
        headers.remove(CONTENT_LENGTH);
    }
    if let Some(hsts) = hsts {
        let value = HeaderValue::from_str(&format!("max-age={}", hsts.as_secs()));
        // Digits are always a valid value.
        if let Ok(value) = value {
            headers.insert(STRICT_TRANSPORT_SECURITY, value);
        }
    }
}

/// The one authority of a request (RFC 9112, section 3.2; RFC 9113, section 8.3.1): from the request target, else from
/// Host. Both may be there only if they agree; only HTTP/1.0 may have none.
fn authority<B>(request: &Request<B>) -> Result<Option<HeaderValue>, Reason> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Reason::BadHost);
    }
    let target = request.uri().authority();
    match (target, host) {
        (Some(target), host) => {
            let is_h2 = request.version() == Version::HTTP_2;
            let agrees = |host: &HeaderValue| {
                host.as_bytes()
                    .eq_ignore_ascii_case(target.as_str().as_bytes())
            };
            // HTTP/1's absolute form overrides Host; in HTTP/2 a difference is somebody's trick.
            if is_h2 && !host.is_none_or(agrees) {
                return Err(Reason::BadHost);
            }
            let value = HeaderValue::from_str(target.as_str()).map_err(|_| Reason::BadHost)?;
            checked(value).map(Some)
        }
        (None, Some(host)) => checked(host.clone()).map(Some),
        (None, None) if request.version() == Version::HTTP_10 => Ok(None),
        (None, None) => Err(Reason::BadHost),
    }
}

fn checked(host: HeaderValue) -> Result<HeaderValue, Reason> {
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| Reason::BadHost)?;
    // `Authority` lets any digits and an empty port pass.
    let port_is_number = match authority.as_str().rsplit_once(':') {
        Some((_, port)) if !port.contains(']') => port.parse::<u16>().is_ok(),
        _ => true,
    };
    if authority.host().is_empty() || authority.as_str().contains('@') || !port_is_number {
        return Err(Reason::BadHost);
    }
    Ok(host)
}

/// RFC 9110, section 7.6.1: `Connection` and what it names, and the fields that are hop-by-hop by themselves. What
/// frames or routes the message stays, whatever `Connection` says.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .filter(|name| !matches!(*name, HOST | CONTENT_LENGTH | TRANSFER_ENCODING))
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        UPGRADE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
}

/// Removes every field by which a client could speak in our name. CGI, WSGI and PHP fold `-`, `_` and `.` together, so
/// `X_Forwarded_For` is `X-Forwarded-For` to them (GHSA-f59h-q822-g45g); other underscores stay.
fn strip_claims(headers: &mut HeaderMap) {
    let is_claim = |name: &HeaderName| {
        let name = name.as_str();
        if name.contains(['_', '.']) {
            let folded = name.replace(['_', '.'], "-");
            return is_reserved(&folded) || is_framing(&folded);
        }
        is_reserved(name)
    };
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Names we set, names that carry a client's identity, and `Proxy`, which CGI turns into `HTTP_PROXY` (httpoxy).
fn is_reserved(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(name, "forwarded" | "x-real-ip" | "x-request-id" | "proxy")
}

/// Names that frame or route a message; folded spellings of them never mean well.
fn is_framing(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "transfer-encoding"
            | "connection"
            | "keep-alive"
            | "te"
            | "trailer"
            | "upgrade"
            | "expect"
    )
}

/// HTTP/2 may send a cookie in crumbs, which HTTP/1 knows only as one field (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().count() < 2 {
        return;
    }
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    // Joined values stay valid; if not, the crumbs stay as they are.
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// A body of unknown length is chunked explicitly: hyper's client would drop it silently on GET.
fn frame<B: Body>(request: &mut Request<B>) {
    let unknown =
        !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH);
    if unknown {
        request
            .headers_mut()
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn set_own(headers: &mut HeaderMap, authority: Option<HeaderValue>, own: &OwnWords<'_>) {
    let client = own.client.to_string();
    let port = authority.as_ref().and_then(port).unwrap_or(own.public_port);
    let host = authority.as_ref().and_then(|host| host.to_str().ok());
    let forwarded = match host {
        Some(host) => format!("for={};host=\"{host}\";proto=https", node(own.client)),
        None => format!("for={};proto=https", node(own.client)),
    };
    // All of these are made of visible ASCII, so none is left out.
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(X_FORWARDED_FOR, &client);
    set(X_REAL_IP, &client);
    set(X_FORWARDED_PORT, &port.to_string());
    set(FORWARDED, &forwarded);
    set(X_REQUEST_ID, own.request_id);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    match authority {
        Some(host) => {
            headers.insert(X_FORWARDED_HOST, host.clone());
            headers.insert(HOST, host);
        }
        None => {
            if let Ok(host) = HeaderValue::from_str(own.default_host) {
                headers.insert(HOST, host);
            }
        }
    }
}

fn port(authority: &HeaderValue) -> Option<u16> {
    Authority::try_from(authority.as_bytes()).ok()?.port_u16()
}

/// RFC 7239, section 6: an IPv6 address stands in brackets and quotes.
fn node(client: IpAddr) -> String {
    match client {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("\"[{v6}]\""),
    }
}

/// Only path and query go to the application, byte for byte; `*` stays.
fn origin_form(uri: &Uri) -> Uri {
    let path = uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
