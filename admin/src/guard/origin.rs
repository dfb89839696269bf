//! Keeps web pages away from the admin plane. A browser on the operator's machine can be made to send requests to a
//! forwarded port: by a foreign page (told by `Origin` and `Sec-Fetch-Site`) or by DNS rebinding (told by `Host`).

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use super::complaints::Why;
use crate::problem::Problem;

/// Refuses foreign hosts and foreign origins. `names` are allowed besides addresses and `localhost`.
pub(super) fn check(request: &Parts, names: &[String]) -> Result<(), Problem> {
    let headers = &request.headers;
    let host = one(headers, header::HOST).unwrap_or_default();
    // The authority of an absolute request target is what counts (RFC 9112, section 3.2.2).
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    if !trusted(host, names) || !authority.is_none_or(|authority| trusted(authority, names)) {
        return refused(
            "this Host is not allowed: use an IP address, localhost, or a name that --admin-host allows (protects against DNS rebinding)",
        );
    }
    if headers.contains_key(header::ORIGIN) {
        let origin = one(headers, header::ORIGIN).and_then(|origin| origin.split_once("://"));
        let is_own =
            |(scheme, rest): (&str, &str)| matches!(scheme, "http" | "https") && rest == host;
        if !origin.is_some_and(is_own) {
            return refused("requests from another origin are not allowed");
        }
    }
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    let is_foreign = match site {
        // Another port of the same machine is another application, and may look but not touch.
        Some(b"same-site") => !request.method.is_safe(),
        Some(b"same-origin" | b"none") | None => false,
        // A link to the page, that somebody has followed: it holds nothing, and cannot be framed.
        Some(_) => !is_visit(request),
    };
    if is_foreign {
        return refused("requests from another site are not allowed");
    }
    Ok(())
}

/// Whether a browser shows the page in a window of its own.
fn is_visit(request: &Parts) -> bool {
    let says =
        |name: &str, value: &str| request.headers.get(name).is_some_and(|said| said == value);
    request.method.is_safe()
        && request.uri.path() == "/"
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}

fn refused(detail: &str) -> Result<(), Problem> {
    Err(Problem::new(StatusCode::FORBIDDEN, detail).reason(Why::CrossSite.word()))
}

/// The field, where there is exactly one, in text.
fn one(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut fields = headers.get_all(name).iter();
    let field = fields.next()?;
    if fields.next().is_some() {
        return None;
    }
    field.to_str().ok()
}

/// An address cannot be rebound, and `localhost` never leaves the machine.
fn trusted(host: &str, names: &[String]) -> bool {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok()
        || names.iter().any(|own| name.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn only_addresses_localhost_and_allowed_names_are_trusted_hosts() {
        let names = ["admin.shop.svc".to_owned()];
        for host in [
            "localhost",
            "LOCALHOST:9901",
            "127.0.0.1:9901",
            "[::1]:9901",
            "[::1]",
            "10.0.0.7:1",
            "admin.shop.svc:9901",
            "Admin.Shop.svc",
        ] {
            assert!(trusted(host, &names), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:9901",
            "127.0.0.1.nip.io",
            ":9901",
            "admin.shop.svc.evil.example",
            "evil.admin.shop.svc",
        ] {
            assert!(!trusted(host, &names), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_not_let_in_however_it_comes() {
        let ask = |method: &str, target: &str, fields: &[(&str, &str)]| {
            let mut request = Request::builder().method(method).uri(target);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            check(&request.body(()).unwrap().into_parts().0, &[]).is_ok()
        };
        let host = ("host", "localhost:9901");
        let cross = ("sec-fetch-site", "cross-site");
        let navigate = ("sec-fetch-mode", "navigate");
        let document = ("sec-fetch-dest", "document");
        for (method, target, fields) in [
            ("GET", "/", &[host][..]),
            ("POST", "/", &[host, ("origin", "http://localhost:9901")]),
            ("POST", "/", &[host, ("sec-fetch-site", "same-origin")]),
            ("GET", "/", &[host, ("sec-fetch-site", "none")]),
            ("GET", "/", &[host, ("sec-fetch-site", "same-site")]),
            ("GET", "http://127.0.0.1:9901/", &[host]),
            ("GET", "/", &[host, cross, navigate, document]),
        ] {
            assert!(ask(method, target, fields), "{method} {target} {fields:?}");
        }
        for (method, target, fields) in [
            ("GET", "/", &[][..]),
            ("GET", "/", &[("host", "evil.example")]),
            ("GET", "/", &[host, host]),
            ("GET", "/", &[host, ("host", "evil.example")]),
            ("GET", "http://evil.example/", &[host]),
            ("POST", "/", &[host, ("origin", "http://evil.example")]),
            ("POST", "/", &[host, ("origin", "http://localhost:8080")]),
            ("POST", "/", &[host, ("origin", "null")]),
            ("POST", "/", &[host, ("origin", "x://localhost:9901")]),
            (
                "POST",
                "/",
                &[
                    host,
                    ("origin", "http://localhost:9901"),
                    ("origin", "http://evil.example"),
                ],
            ),
            ("POST", "/", &[host, ("sec-fetch-site", "cross-site")]),
            ("POST", "/", &[host, ("sec-fetch-site", "same-site")]),
            ("GET", "/", &[host, cross]),
            (
                "GET",
                "/",
                &[host, cross, navigate, ("sec-fetch-dest", "iframe")],
            ),
            (
                "GET",
                "/",
                &[host, cross, document, ("sec-fetch-mode", "no-cors")],
            ),
            ("GET", "/logs", &[host, cross, navigate, document]),
            ("POST", "/", &[host, cross, navigate, document]),
            (
                "GET",
                "/",
                &[("host", "evil.example"), cross, navigate, document],
            ),
        ] {
            assert!(!ask(method, target, fields), "{method} {target} {fields:?}");
        }
    }
}
