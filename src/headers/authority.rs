//! The one authority of a request.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request, Version};

use crate::failure::Reason;

/// The one authority of a request (RFC 9112, section 3.2; RFC 9113, section 8.3.1): from the request target, else from
/// Host. Both may be there only if they agree; only HTTP/1.0 may have none.
pub(crate) fn authority<B>(request: &Request<B>) -> Result<Option<HeaderValue>, Reason> {
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

/// A well-formed Host: no user, a port that is one.
pub(crate) fn checked(host: HeaderValue) -> Result<HeaderValue, Reason> {
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| Reason::BadHost)?;
    // `Authority` lets any digits and an empty port pass.
    let port_is_number = match authority.as_str().rsplit_once(':') {
        Some((_, port)) if !port.contains(']') => port.parse::<u16>().is_ok(),
        _ => true,
    };
    // A name, an address, and nothing that a gateway might read as two of them.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let is_host = !authority.host().is_empty() && authority.as_str().bytes().all(is_plain);
    if !is_host || !port_is_number {
        return Err(Reason::BadHost);
    }
    Ok(host)
}

/// The port an authority names.
pub(super) fn port(authority: &HeaderValue) -> Option<u16> {
    Authority::try_from(authority.as_bytes()).ok()?.port_u16()
}
