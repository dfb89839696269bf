//! Keeps web pages away from the admin plane. A browser on the operator's machine can be made to send requests to a
//! forwarded port: by a foreign page (told by `Origin` and `Sec-Fetch-Site`) or by DNS rebinding (told by `Host`).

use std::net::IpAddr;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use crate::problem::Problem;

/// Refuses foreign hosts and foreign origins.
pub(crate) async fn same_origin(request: Request, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail| Err(Problem::new(StatusCode::FORBIDDEN, detail).reason("cross_site"));
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    if !trusted(host) {
        return refused(
            "this Host is not allowed: use an IP address or localhost (protects against DNS rebinding)",
        );
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let same = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"))
            .map(|(_, rest)| rest);
        if same != Some(host) {
            return refused("requests from another origin are not allowed");
        }
    }
    if headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site")
    {
        return refused("requests from another site are not allowed");
    }
    Ok(())
}

/// An address cannot be rebound, and `localhost` never leaves the machine.
fn trusted(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_trusted_hosts() {
        for host in [
            "localhost",
            "LOCALHOST:9901",
            "127.0.0.1:9901",
            "[::1]:9901",
            "[::1]",
            "10.0.0.7:1",
        ] {
            assert!(trusted(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:9901",
            "127.0.0.1.nip.io",
            ":9901",
        ] {
            assert!(!trusted(host), "{host}");
        }
    }
}
