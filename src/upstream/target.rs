//! What a target is: its spelling, its endpoint, and what was learnt about it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

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
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            if !path.is_absolute() {
                return Err(format!(
                    "{text:?}: a socket needs an absolute path, like unix:/run/app.sock"
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
                    "{text:?}: TLS ends here, the application is spoken to in plain HTTP on the loopback; use http://"
                ));
            }
            Some((scheme, _)) => {
                return Err(format!(
                    "{text:?}: {scheme} is not spoken; use http://, h2c:// or unix:/PATH"
                ));
            }
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let endpoint = endpoint(authority)
            .map_err(|why| format!("{text:?}: {why}, like http://127.0.0.1:8080"))?;
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
        let authority = self.text.split_once("://");
        authority.map_or("localhost", |(_, authority)| authority)
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn endpoint(authority: &str) -> Result<Endpoint, &'static str> {
    if authority.contains('@') {
        return Err("a target carries no user");
    }
    if authority.contains(['/', '?', '#']) {
        return Err("a target has no path: requests keep their own");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (
            host,
            port.parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or("the port must be 1 to 65535")?,
        ),
        _ => (authority, 80),
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

/// A target in force: its URL and what was learnt while using it.
#[derive(Debug)]
pub(crate) struct Target {
    /// Counts up with each change, so that a pool knows its connections.
    pub(crate) number: u64,
    /// As configured or as asked for.
    pub url: TargetUrl,
    /// The same as text, for records.
    pub(crate) text: Box<str>,
    /// For `localhost`: which loopback answered last; [`NOBODY`] before the first has.
    winner: AtomicU8,
    /// Only counted while it is on trial: it is the one thing about a target that all workers would write.
    tally: Option<Tally>,
}

/// How exchanges with a target on trial went.
#[derive(Debug, Default)]
struct Tally {
    exchanges: AtomicU64,
    failed: AtomicU64,
}

const NOBODY: u8 = 0;
const V4: u8 = 4;
const V6: u8 = 6;

impl Target {
    pub(crate) fn new(number: u64, url: TargetUrl) -> Self {
        Self {
            number,
            text: url.to_string().into(),
            url,
            winner: AtomicU8::new(NOBODY),
            tally: None,
        }
    }

    /// One whose exchanges are counted.
    pub(super) fn on_trial(number: u64, url: TargetUrl) -> Self {
        Self {
            tally: Some(Tally::default()),
            ..Self::new(number, url)
        }
    }

    /// An exchange with it is over.
    pub(crate) fn count(&self, is_failed: bool) {
        if let Some(tally) = &self.tally {
            tally.exchanges.fetch_add(1, Ordering::Relaxed);
            tally
                .failed
                .fetch_add(u64::from(is_failed), Ordering::Relaxed);
        }
    }

    /// Exchanges with it, and how many of them failed; nothing where they are not counted.
    pub(crate) fn tally(&self) -> (u64, u64) {
        let tally = self.tally.as_ref();
        tally.map_or((0, 0), |tally| {
            let failed = tally.failed.load(Ordering::Relaxed);
            // Read last: there are never fewer exchanges than failed ones.
            (tally.exchanges.load(Ordering::Relaxed), failed)
        })
    }

    /// Both loopbacks, the last winner first.
    pub(crate) fn loopbacks(&self, port: u16) -> [SocketAddr; 2] {
        let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
        if self.winner.load(Ordering::Relaxed) == V6 {
            [v6, v4]
        } else {
            [v4, v6]
        }
    }

    /// This loopback has answered. Said when it is news.
    pub(super) fn won(&self, address: SocketAddr) {
        let winner = if address.is_ipv6() { V6 } else { V4 };
        if self.winner.swap(winner, Ordering::Relaxed) != winner {
            tracing::info!(target_url = %self.url, %address, "localhost answers at this address");
        }
    }

    /// For `localhost`: the address that answered last.
    pub(crate) fn answers_at(&self) -> Option<SocketAddr> {
        match (self.url.endpoint(), self.winner.load(Ordering::Relaxed)) {
            (_, NOBODY) => None,
            (Endpoint::Localhost(port), _) => Some(self.loopbacks(*port)[0]),
            _ => None,
        }
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
            "http://127.1:80",
            "http://2130706433:80",
            "http://0x7f000001:80",
            "http://[::1:80",
            "unix:relative",
            "http://a b:80",
            "http://[v1.x]:80",
        ] {
            assert!(TargetUrl::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
