//! Parsers for kinds of value. Each error says what would have been right.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("{text:?} is not an address like 127.0.0.1:8443, [::]:8443 or :8443");
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    match host {
        "" | "*" => Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)),
        "localhost" => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        _ => Err(wrong()),
    }
}

/// A path that is compared as it stands.
pub(super) fn exact_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.contains(['?', '#', '*', ' ']) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a path like /healthz; it is compared as it stands, with no pattern and no query"
        ))
    }
}

/// What a request can be for: a path, with a query or without.
pub(crate) fn path_and_query(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && !text.contains('#');
    if is_path && text.parse::<http::uri::PathAndQuery>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a path like /healthz or /health?deep=1"
        ))
    }
}

/// A network, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let network = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(network) => Ok(canonical(network.trunc())),
        Err(_) => Err(format!(
            "{text:?} is not a network like 10.0.0.0/8 or fd00::/8, nor an address"
        )),
    }
}

/// Clients are known by their IPv4 address also on a dual-stack listener, and so are networks of such.
fn canonical(network: IpNet) -> IpNet {
    let v4 = match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => v6.network().to_ipv4_mapped(),
        _ => None,
    };
    v4.and_then(|ip| IpNet::new(ip.into(), network.prefix_len() - 96).ok())
        .unwrap_or(network)
}

/// Like `500ms`, `5s` or `1m 30s`, or 0; not so long that a deadline would have no end.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration = humantime::parse_duration(text).map_err(|error| {
        format!("{text:?} is not a duration like 500ms, 5s or 1m 30s ({error})")
    })?;
    // Deadlines are sums of these, and a sum beyond the clock's range would be a panic.
    if duration > LONGEST {
        return Err(format!("{text:?} is longer than ten years"));
    }
    Ok(duration)
}

/// A duration, or seconds as a pod's `terminationGracePeriodSeconds` has them.
pub(crate) fn grace_period(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
        Err(_) => duration(text).map_err(|error| format!("{error}, nor a number of seconds")),
    }
}

/// How many, where 0 is an answer, too.
pub(super) fn number(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number like 0 or 100"))
}

pub(super) fn size(text: &str) -> Result<usize, String> {
    let digits =
        text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
    let unit = text[digits.len()..].trim();
    let factor = match unit {
        "" | "B" => Some(1),
        "KiB" | "Ki" | "K" => Some(1 << 10),
        "MiB" | "Mi" | "M" => Some(1 << 20),
        "GiB" | "Gi" | "G" => Some(1 << 30),
        _ => None,
    };
    factor
        .and_then(|factor: usize| digits.parse::<usize>().ok()?.checked_mul(factor))
        .ok_or_else(|| format!("{text:?} is not a size like 4096, 64KiB or 1MiB"))
}

pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is not a number above 0")),
        Ok(count) => Ok(count),
    }
}

const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_binary_units_and_refuse_the_rest() {
        assert_eq!(size("64KiB"), Ok(65536));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("1 MiB"), Ok(1 << 20));
        for wrong in [
            "",
            "KiB",
            "-1",
            "1.5MiB",
            "64kb",
            "99999999999999999999",
            "99999999999GiB",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_have_an_end() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "5", "-1s", "soon", "11years", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_grace_period_may_be_bare_seconds() {
        assert_eq!(grace_period("30"), Ok(Duration::from_secs(30)));
        assert_eq!(grace_period("1m 30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "-1", "soon", "99999999999"] {
            assert!(grace_period(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks_may_be_one_address() {
        assert_eq!(network("10.1.2.3/8"), Ok("10.0.0.0/8".parse().unwrap()));
        assert_eq!(network("::1"), Ok("::1/128".parse().unwrap()));
        let mapped = network("::ffff:10.0.0.0/104");
        assert_eq!(mapped, Ok("10.0.0.0/8".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "10.0.0", "fd00::/129", "lb.internal"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_asked_for_may_have_a_query() {
        for right in ["/", "/healthz", "/health?deep=1&a=%20", "//x"] {
            assert_eq!(path_and_query(right), Ok(right.to_owned()));
        }
        for wrong in [
            "",
            "healthz",
            "/a b",
            "/a#b",
            "http://x/",
            "*",
            "?a",
            "/\r\nHost: x",
        ] {
            assert!(path_and_query(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_may_leave_the_host_out() {
        assert_eq!(address(":8443"), Ok("[::]:8443".parse().unwrap()));
        assert_eq!(address("localhost:1"), Ok("127.0.0.1:1".parse().unwrap()));
        for wrong in ["", "8443", "host:8443", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
