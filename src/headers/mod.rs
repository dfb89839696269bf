//! What is changed in the fields of a request and a response on their way, and nothing else is: strip first, then set.
//!
//! Order matters. Hop-by-hop fields go first, also those the client names in `Connection`, so that it cannot make us
//! remove what we set (CVE-2024-45410). Then everything by which a client could speak in our name goes, in every spelling
//! that a legacy gateway folds together. Only then our own fields are set.

mod authority;
mod client_certificate;
mod grpc;
mod inbound;
mod options;
mod own;
mod redirects;
mod spelling;
mod strip;
mod upgrade;

use std::net::IpAddr;
use std::time::Duration;

use http::header::{
    CONTENT_LENGTH, COOKIE, HeaderName, STRICT_TRANSPORT_SECURITY, TE, TRANSFER_ENCODING,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use http_body::Body;

use crate::config::Networks;
use crate::failure::Reason;
use crate::http::content_length;
use inbound::Inbound;
use own::set_own;
use strip::{strip_claims, strip_hop_by_hop};

pub(crate) use authority::{authority, checked, name};
pub(crate) use client_certificate::client_certificate;
pub(crate) use grpc::is_grpc;
pub(crate) use options::has_option;
pub(crate) use own::{Phrases, visible};
pub(crate) use redirects::fix_redirects;
pub(crate) use spelling::{Speller, Spelling, has_own_spelling, write_usual};
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
    /// The words of earlier requests.
    pub(crate) phrases: &'a Phrases,
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

/// Frames a body for HTTP/1. One of unknown length is chunked, whatever the method.
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
