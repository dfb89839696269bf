//! The one authority of a request.

use std::net::Ipv6Addr;

use http::header::HOST;
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
    match split(&host) {
        Some(_) => Ok(host),
        None => Err(Reason::BadHost),
    }
}

/// A name or an address without its brackets, and the port if there is one (RFC 3986, section 3.2). None for what a gateway might
/// read as two of them.
fn split(authority: &HeaderValue) -> Option<(&str, Option<u16>)> {
    let authority = str::from_utf8(authority.as_bytes()).ok()?;
    let bracketed = authority
        .strip_prefix('[')
        .and_then(|it| it.split_once(']'));
    let (name, rest) = match bracketed {
        Some((address, rest)) => {
            address.parse::<Ipv6Addr>().ok()?;
            (address, rest)
        }
        None => {
            let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            let end = authority.bytes().position(|byte| !is_of_name(byte));
            authority.split_at(end.unwrap_or(authority.len()))
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        None if rest.is_empty() => None,
        _ => return None,
    };
    (!name.is_empty()).then_some((name, port))
}

/// The name or the address in an authority: without port, and without brackets.
pub(crate) fn name(authority: &HeaderValue) -> Option<&str> {
    split(authority).map(|(name, _)| name)
}

/// The port an authority names.
pub(super) fn port(authority: &HeaderValue) -> Option<u16> {
    split(authority)?.1
}

#[cfg(test)]
mod tests {
    use http::uri::Authority;
    use proptest::prelude::*;

    use super::*;

    /// What the `http` crate takes for an authority, held to the rules that it does not know.
    fn is_host_of_http(host: &str) -> bool {
        let Ok(authority) = Authority::try_from(host) else {
            return false;
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        let is_port = match host.rsplit_once(':') {
            Some((_, port)) if !port.contains(']') => port.parse::<u16>().is_ok(),
            _ => true,
        };
        !authority.host().is_empty() && host.bytes().all(is_plain) && is_port
    }

    fn is_host(host: &str) -> bool {
        let value = HeaderValue::from_bytes(host.as_bytes()).unwrap();
        checked(value).is_ok()
    }

    proptest! {
        #[test]
        fn what_is_a_host_is_one_to_the_http_crate_too(host in r"(\[[a1:.]{0,12}\]?|\[::[a1:.]{0,6}\]|[a1._@%, -]{0,5})[:+]{0,2}[06\[\]a]{0,6}") {
            let value = HeaderValue::from_str(&host).unwrap();
            let (is_ours, is_theirs) = (split(&value).is_some(), is_host_of_http(&host));
            // It takes brackets wherever they stand, and whatever stands in them.
            prop_assert!(is_ours == is_theirs || !is_ours && host.contains(['[', ']']), "{host}");
            if is_ours {
                let authority = Authority::try_from(&*host).unwrap();
                prop_assert_eq!(name(&value), Some(authority.host().trim_matches(['[', ']'])));
                prop_assert_eq!(port(&value), authority.port_u16());
            }
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "a",
            "a_b.c-d:80",
            "10.0.0.1",
            "[::1]",
            "[::ffff:10.0.0.1]:65535",
            "a:00080",
        ] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "a:",
            "a:+1",
            "a:65536",
            "a:80:80",
            "::1",
            "[]",
            "[::1",
            "::1]",
            "[::1]a",
            "a[::1]",
            "[a]",
            "[1:2:3:4:5:6:7:8:9]",
            "[fe80::1%25lo]",
            "[[::1]]",
            "u@a",
            "a/b",
            "a,b",
            "\u{e9}",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }
}
