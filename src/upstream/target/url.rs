//! How a target is spelt, and where that leads.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// One address.
    Address(SocketAddr),
    /// Both loopbacks; the one that answers wins. Applications bind one or the other (envoyproxy/envoy#8055).
    Localhost(u16),
    /// A name, resolved when connecting.
    Name(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// How the application is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 in clear, with prior knowledge (RFC 9113, section 3.3).
    H2c,
}

/// A parsed `--target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUrl {
    text: String,
    protocol: Protocol,
    endpoint: Endpoint,
}

impl TargetUrl {
    /// Parses `http://HOST[:PORT]`, `h2c://HOST[:PORT]`, `HOST:PORT` or `unix:/PATH`.
    ///
    /// # Errors
    /// What is wrong with it and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = shown(text);
        if text.chars().any(char::is_control) {
            return Err(format!("{shown:?}: a target has no control characters"));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            if !path.is_absolute() {
                return Err(format!(
                    "{shown:?}: a socket needs an absolute path, like unix:/run/app.sock"
                ));
            }
            let text = format!("unix:{}", path.display());
            return Ok(Self {
                text,
                protocol: Protocol::Http1,
                endpoint: Endpoint::Unix(path),
            });
        }
        let (protocol, authority) = match text.split_once("://") {
            None => (Protocol::Http1, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Protocol::Http1, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("h2c") => (Protocol::H2c, rest),
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(format!(
                    "{shown:?}: TLS ends here, the application is spoken to in plain HTTP on the loopback; use http://"
                ));
            }
            Some((scheme, _)) => {
                return Err(format!(
                    "{shown:?}: {scheme} is not spoken; use http://, h2c:// or unix:/PATH"
                ));
            }
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let endpoint = endpoint(authority)
            .map_err(|why| format!("{shown:?}: {why}, like http://127.0.0.1:8080"))?;
        let scheme = match protocol {
            Protocol::Http1 => "http",
            Protocol::H2c => "h2c",
        };
        Ok(Self {
            text: format!("{scheme}://{}", host_port(&endpoint)),
            protocol,
            endpoint,
        })
    }

    /// How the application is spoken to.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Where to connect to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether requests to it stay inside the pod.
    pub fn is_local(&self) -> bool {
        match &self.endpoint {
            Endpoint::Address(address) => address.ip().to_canonical().is_loopback(),
            Endpoint::Localhost(_) | Endpoint::Unix(_) => true,
            Endpoint::Name(..) => false,
        }
    }

    /// The Host for a request that came without one.
    pub(crate) fn authority(&self) -> &str {
        let after = |scheme| self.text.strip_prefix(scheme);
        after("http://")
            .or_else(|| after("h2c://"))
            .unwrap_or("localhost")
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// As much of an URL that is none as may stand in a log: what is before an `@` may be a password, and what is behind the
/// host may be a token.
pub(crate) fn shown(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let is_socket = text.starts_with("unix:");
    let end = rest.find(['/', '?', '#']).filter(|_| !is_socket);
    let authority = end.map_or(rest, |end| &rest[..end]);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let mut shown: String = scheme
        .chars()
        .chain(host.chars())
        .take(LONGEST_SHOWN)
        .collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Characters of an URL that is none.
const LONGEST_SHOWN: usize = 200;

fn endpoint(authority: &str) -> Result<Endpoint, &'static str> {
    if authority.contains('@') {
        return Err("a target carries no user");
    }
    if authority.contains(['/', '?', '#']) {
        return Err("a target has no path: requests keep their own");
    }
    host_and_port(authority, 80)
}

/// `HOST[:PORT]`, with this port where none is said.
pub(crate) fn host_and_port(authority: &str, usual: u16) -> Result<Endpoint, &'static str> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (
            host,
            Some(port)
                .filter(|port| port.bytes().all(|digit| digit.is_ascii_digit()))
                .and_then(|port| port.parse().ok())
                .filter(|port| *port != 0)
                .ok_or("the port must be 1 to 65535")?,
        ),
        _ => (authority, usual),
    };
    if let Some(v6) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let ip: Ipv6Addr = v6.parse().map_err(|_| "this is not an IPv6 address")?;
        return Ok(Endpoint::Address(SocketAddr::new(IpAddr::V6(ip), port)));
    }
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(Endpoint::Address(SocketAddr::new(IpAddr::V4(ip), port)));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let valid = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if !name.split('.').all(valid) {
        return Err("the host must be an address or a name");
    }
    // The resolver would read 127.1, 0x7f000001 or 2130706433 as an address; nobody should have to guess which.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|first: char| first.is_ascii_digit()) {
        return Err("an address must be written in full");
    }
    Ok(if name == "localhost" {
        Endpoint::Localhost(port)
    } else {
        Endpoint::Name(name, port)
    })
}

fn host_port(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Address(address) => address.to_string(),
        Endpoint::Localhost(port) => format!("localhost:{port}"),
        Endpoint::Name(name, port) => format!("{name}:{port}"),
        Endpoint::Unix(path) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_in_every_documented_spelling() {
        for (text, shown) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("HTTP://LOCALHOST:3000/", "http://localhost:3000"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://app.internal", "http://app.internal:80"),
            ("h2c://localhost:50051", "h2c://localhost:50051"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:///run/app.sock", "unix:/run/app.sock"),
        ] {
            assert_eq!(TargetUrl::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn a_refused_target_is_named_without_what_may_be_secret_in_it() {
        for (text, wanted) in [
            (
                "http://admin:s3cret@127.0.0.1:8080",
                "\"http://127.0.0.1:8080…\": a target carries no user",
            ),
            (
                "http://127.0.0.1:1/?token=s3cret",
                "\"http://127.0.0.1:1…\": a target has no path",
            ),
            ("admin:s3cret@h/x?s3cret#s3cret", "\"h…\""),
            ("gopher://s3cret@x", "\"gopher://x…\": gopher is not spoken"),
            ("unix:run/app.sock", "\"unix:run/app.sock\": a socket needs"),
            (&"a".repeat(10_000), "aaa…\""),
        ] {
            let error = TargetUrl::parse(text)
                .err()
                .unwrap_or_else(|| format!("\"{}\"", shown(text)));
            assert!(
                error.contains(wanted) && !error.contains("s3cret"),
                "{error}"
            );
            assert!(error.len() < 400);
        }
    }

    #[test]
    fn a_target_that_could_mean_two_things_is_refused() {
        for text in [
            "",
            "http://",
            "https://127.0.0.1:1",
            "ftp://x",
            "http://u@127.0.0.1:1",
            "http://127.0.0.1:1/path",
            "http://127.0.0.1:0",
            "http://127.0.0.1:99999",
            "http://127.0.0.1:+80",
            "http://127.1:80",
            "http://2130706433:80",
            "http://0x7f000001:80",
            "http://[::1:80",
            "unix:relative",
            "http://a b:80",
            "http://[v1.x]:80",
            "unix:/run/a\nINFO fake",
            "unix:/run/\u{1b}[31m",
            "unix:/\0app",
            "http://127.0.0.1:80\r\n",
        ] {
            assert!(TargetUrl::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
