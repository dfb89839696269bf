//! What is changed in the fields of a request and a response on their way, and nothing else is: strip first, then set.
//!
//! Order matters. Hop-by-hop fields go first, also those the client names in `Connection`, so that it cannot make us
//! remove what we set (CVE-2024-45410). Then everything by which a client could speak in our name goes, in every spelling
//! that a legacy gateway folds together. Only then our own fields are set.

mod authority;
mod client_certificate;
mod grpc;
mod inbound;
mod redirects;
mod spelling;
mod strip;
mod upgrade;

use std::net::IpAddr;
use std::time::Duration;

use http::header::{
    CONTENT_LENGTH, COOKIE, FORWARDED, HOST, HeaderName, STRICT_TRANSPORT_SECURITY, TE,
    TRANSFER_ENCODING,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use http_body::Body;

use crate::config::Networks;
use crate::failure::Reason;
use crate::http::content_length;
use authority::port;
use inbound::Inbound;
use strip::{strip_claims, strip_hop_by_hop};

pub(crate) use authority::{authority, checked};
pub(crate) use client_certificate::client_certificate;
pub(crate) use grpc::is_grpc;
pub(crate) use redirects::fix_redirects;
pub(crate) use spelling::is_oddly_spelt;
pub(crate) use strip::{clean_trailers, strip_other_paths};
pub(crate) use upgrade::upgrade;

/// What the sidecar says of a request, in its own name.
#[derive(Debug)]
pub(crate) struct OwnWords<'a> {
    /// Who has sent it.
    pub(crate) peer: IpAddr,
    /// Whose word about the client is believed.
    pub(crate) trusted: Option<&'a Networks>,
    /// Where nobody who is believed has given one.
    pub(crate) request_id: &'a str,
    /// How it came: `https`, or `http` where that is let through.
    pub(crate) proto: &'static str,
    /// The port clients see where the authority names none.
    pub(crate) public_port: u16,
    /// Who the client has proven to be.
    pub(crate) client_certificate: Option<&'a HeaderValue>,
    /// The Host for an HTTP/1.0 request without one.
    pub(crate) default_host: &'a str,
}

/// What a request has told about itself, and whether it tried to tell more.
#[derive(Debug)]
pub(crate) struct Said {
    /// Whether a trusted proxy has told it.
    pub(crate) is_believed: bool,
    /// The client, where a trusted proxy has named one.
    pub(crate) client: Option<IpAddr>,
    /// The request's id, where a trusted proxy has given one.
    pub(crate) request_id: Option<HeaderValue>,
    /// Fields with a name that only looks like none of ours (`X_Forwarded_For`). They were removed.
    pub(crate) disguised: u64,
}

/// Makes a client's request one for the application. How its body is framed there is decided later: [`frame`].
pub(crate) fn to_upstream<B: Body>(
    request: &mut Request<B>,
    own: &OwnWords<'_>,
) -> Result<Said, Reason> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Reason::MethodRefused);
    }
    let authority = authority(request)?;
    let trailers = request
        .headers()
        .get_all(TE)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    // HTTP/1 heads were held to this by the framer.
    let mut lengths = request.headers().get_all(CONTENT_LENGTH).iter();
    let is_one = lengths
        .next()
        .is_none_or(|length| content_length(length.as_bytes()).is_some());
    if !is_one || lengths.next().is_some() {
        return Err(Reason::BadRequest);
    }
    let trusted = own.trusted.filter(|trusted| trusted.contain(own.peer));
    let inbound = trusted.map(|_| Inbound::read(request.headers()));
    join_cookies(request.headers_mut());
    strip_hop_by_hop(request.headers_mut());
    let disguised = strip_claims(request.headers_mut(), inbound.is_some());
    if trailers {
        request
            .headers_mut()
            .insert(TE, HeaderValue::from_static("trailers"));
    }
    let inbound = inbound.unwrap_or_default();
    let client = trusted.and_then(|trusted| inbound.client(trusted));
    set_own(request.headers_mut(), authority, own, &inbound, client);
    *request.uri_mut() = origin_form(request.uri());
    *request.version_mut() = Version::HTTP_11;
    Ok(Said {
        is_believed: trusted.is_some(),
        client,
        request_id: inbound.request_id,
        disguised,
    })
}

/// Makes the application's response one for the client.
pub(crate) fn to_downstream(status: StatusCode, headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    headers.remove(TRANSFER_ENCODING);
    if status == StatusCode::NO_CONTENT {
        // RFC 9110, section 8.6; HTTP/2 clients take the missing body for a broken one.
        headers.remove(CONTENT_LENGTH);
    }
}

/// Strict-Transport-Security (RFC 6797).
pub(crate) fn insist_on_https(headers: &mut HeaderMap, max_age: Duration) {
    // Digits are always a valid value.
    if let Ok(value) = HeaderValue::from_str(&format!("max-age={}", max_age.as_secs())) {
        headers.insert(STRICT_TRANSPORT_SECURITY, value);
    }
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

/// Frames a body for HTTP/1. One of unknown length is chunked explicitly: hyper's client would drop it silently on GET.
pub(crate) fn frame<B: Body>(request: &mut Request<B>) {
    if request.body().is_end_stream() || request.headers().contains_key(CONTENT_LENGTH) {
        return;
    }
    match request.body().size_hint().exact() {
        Some(length) if !request.headers().contains_key(TRANSFER_ENCODING) => {
            request.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        _ => {
            let chunked = HeaderValue::from_static("chunked");
            request.headers_mut().insert(TRANSFER_ENCODING, chunked);
        }
    }
}

fn set_own(
    headers: &mut HeaderMap,
    authority: Option<HeaderValue>,
    own: &OwnWords<'_>,
    inbound: &Inbound,
    client: Option<IpAddr>,
) {
    let peer = own.peer.to_string();
    let proto = inbound.proto.unwrap_or(own.proto);
    let default_port = if own.proto == "https" {
        own.public_port
    } else {
        80
    };
    let port = inbound
        .port
        .or_else(|| authority.as_ref().and_then(port))
        .unwrap_or(default_port);
    let host = authority.as_ref().and_then(|host| host.to_str().ok());
    let element = match host {
        Some(host) => format!("for={};host=\"{host}\";proto={}", node(own.peer), own.proto),
        None => format!("for={};proto={}", node(own.peer), own.proto),
    };
    // All of these are made of visible ASCII, so none is left out.
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    match client {
        Some(client) => set(X_REAL_IP, &client.to_string()),
        None => set(X_REAL_IP, &peer),
    }
    set(X_FORWARDED_PORT, &port.to_string());
    match &inbound.request_id {
        Some(id) => _ = headers.insert(X_REQUEST_ID, id.clone()),
        None => set(X_REQUEST_ID, own.request_id),
    }
    append(headers, X_FORWARDED_FOR, inbound.chain.as_deref(), &peer);
    append(headers, FORWARDED, inbound.forwarded.as_deref(), &element);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    if let Some(certificate) = own.client_certificate {
        headers.insert(X_FORWARDED_CLIENT_CERT, certificate.clone());
    }
    if let Some(host) = inbound.host.as_ref().or(authority.as_ref()) {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    let host = match authority {
        Some(host) => Some(host),
        None => HeaderValue::from_str(own.default_host).ok(),
    };
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
}

/// Sets a list with one more element.
fn append(headers: &mut HeaderMap, name: HeaderName, list: Option<&[u8]>, element: &str) {
    let value = match list {
        Some(list) => HeaderValue::from_bytes(&[list, b", ", element.as_bytes()].concat()),
        None => HeaderValue::from_str(element),
    };
    // Of a valid list and visible ASCII, it is valid.
    if let Ok(value) = value {
        headers.insert(name, value);
    }
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

const X_FORWARDED_CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
