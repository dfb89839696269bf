//! Where a collector takes spans.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::uri::PathAndQuery;

use crate::upstream::{self, host_and_port, shown};

/// An URL of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `https`.
    pub is_secure: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What is asked for. A query may hold a credential: it is not shown.
    pub path: PathAndQuery,
}

impl Endpoint {
    /// Parses `http://HOST[:PORT][/PATH]` or the same with `https`; where there is no path, it is `usual`.
    ///
    /// # Errors
    /// What is wrong with it and what would be right.
    pub fn parse(text: &str, usual: &'static str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{:?}: {why}, like {EXAMPLE}", shown(text));
        if text.chars().any(|one| one.is_control() || one == ' ') {
            return Err(wrong("an URL has no spaces and no control characters"));
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong("it needs http:// or https:// in front"))?;
        let is_secure = match &*scheme.to_ascii_lowercase() {
            "http" => false,
            "https" => true,
            "grpc" => return Err(wrong("OTLP is spoken over HTTP here, not over gRPC")),
            _ => return Err(wrong("a collector is reached by http:// or https://")),
        };
        if rest.contains('#') {
            return Err(wrong("a fragment is never sent"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(wrong("credentials belong into a --trace-header-file"));
        }
        let usual_port = if is_secure { 443 } else { 80 };
        let (host, port) = match host_and_port(authority, usual_port).map_err(wrong)? {
            upstream::Endpoint::Address(address) => (address.ip().to_string(), address.port()),
            upstream::Endpoint::Localhost(port) => (LOCALHOST.to_owned(), port),
            upstream::Endpoint::Name(name, port) => (name, port),
            upstream::Endpoint::Unix(_) => return Err(wrong("a collector is reached by TCP")),
        };
        let path = match path {
            "" | "/" => PathAndQuery::from_static(usual),
            path => path
                .parse()
                .map_err(|_| wrong("this is no path that could be asked for"))?,
        };
        Ok(Self {
            is_secure,
            host,
            port,
            path,
        })
    }

    /// What can be connected to; none where a resolver has to say.
    pub(crate) fn addresses(&self) -> Option<Vec<IpAddr>> {
        match self.host.parse() {
            Ok(address) => Some(vec![address]),
            // As for a target: the name means the loopback, whatever a resolver says.
            Err(_) if self.host == LOCALHOST => Some(LOOPBACKS.to_vec()),
            Err(_) => None,
        }
    }

    /// Whether spans stay inside the pod.
    pub(crate) fn is_local(&self) -> bool {
        let addresses = self.addresses();
        addresses.is_some_and(|all| all.iter().all(|ip| ip.to_canonical().is_loopback()))
    }

    /// The `Host` of a request.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        let is_usual = *port == if self.is_secure { 443 } else { 80 };
        match (host.contains(':'), is_usual) {
            (true, true) => format!("[{host}]"),
            (true, false) => format!("[{host}]:{port}"),
            (false, true) => host.clone(),
            (false, false) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path.path())
    }
}

const EXAMPLE: &str = "http://collector:4318 or https://collector.example/v1/traces";
const LOCALHOST: &str = "localhost";
const LOOPBACKS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        Endpoint::parse(text, "/v1/traces").map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn an_endpoint_without_a_path_gets_the_usual_one() {
        for (text, wanted) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("HTTPS://Tempo.Example", "https://tempo.example/v1/traces"),
            ("https://a.example:443/otlp", "https://a.example/otlp"),
            ("http://[::1]:4318/x/y?tenant=1", "http://[::1]:4318/x/y"),
            ("http://localhost:9411", "http://localhost:9411/v1/traces"),
        ] {
            assert_eq!(parsed(text), Ok(wanted.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_endpoint_that_is_none_is_named_without_what_may_be_secret_in_it() {
        for (text, part) in [
            ("", "needs http:// or https://"),
            ("127.0.0.1:4318", "needs http:// or https://"),
            ("grpc://a:4317", "not over gRPC"),
            ("unix:///run/x", "reached by http:// or https://"),
            ("http://u:s3cret@a:4318", "--trace-header-file"),
            ("http://a:4318/#s3cret", "fragment"),
            ("http://a:0", "port must be 1 to 65535"),
            ("http://", "must be an address or a name"),
            ("http://127.1:4318", "written in full"),
            ("http://a b/?s3cret", "no spaces"),
            ("http://a/\u{e9}?s3cret\u{7f}", "no spaces"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(
                error.contains(part) && !error.contains("s3cret"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn localhost_is_asked_of_no_resolver() {
        let host = |text| Endpoint::parse(text, "/").unwrap();
        let loopbacks = Some(LOOPBACKS.to_vec());
        assert_eq!(host("http://localhost").addresses(), loopbacks);
        assert_eq!(host("http://collector").addresses(), None);
        assert!(host("http://localhost").is_local());
        assert!(host("http://[::1]").is_local());
        assert!(!host("http://collector").is_local());
        assert!(!host("http://10.0.0.1").is_local());
    }
}
