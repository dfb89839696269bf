//! Where an admin plane is, in every spelling.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// Where an admin plane is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// Plain HTTP.
    Plain(SocketAddr),
    /// HTTPS.
    Tls {
        /// An address, without brackets, or a name.
        host: String,
        port: u16,
    },
}

impl Address {
    /// Reads `unix:/PATH`, `http://HOST:PORT`, `https://HOST:PORT`, `HOST:PORT` or `:PORT`. What has no scheme is spoken to
    /// in TLS where that is meant.
    pub(super) fn parse(text: &str, is_tls_meant: bool) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path).ok_or_else(|| {
                format!("--admin {text:?}: a socket needs an absolute path, like unix:/run/portcullis/admin.sock")
            });
        }
        let (is_tls, authority) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, _)) => {
                return Err(format!(
                    "--admin {text:?}: {scheme} is not spoken; use http://, https:// or unix:/PATH"
                ));
            }
            None => (is_tls_meant, text),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let found = if is_tls {
            tls(authority)
        } else {
            plain(authority).map(Self::Plain)
        };
        found.ok_or_else(|| {
            format!(
                "--admin {text:?} is not an address like 127.0.0.1:9901, :9901, http://127.0.0.1:9901, https://admin.example:9901 or unix:/run/portcullis/admin.sock"
            )
        })
    }

    /// What a request names as its Host.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Plain(address) => address.to_string(),
            Self::Tls { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tls { host, port } => format!("{host}:{port}"),
        }
    }

    /// Whether what is sent there in clear stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Plain(address) => address.ip().to_canonical().is_loopback(),
            Self::Tls { .. } => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Plain(address) => write!(f, "{address}"),
            Self::Tls { .. } => write!(f, "https://{}", self.host()),
        }
    }
}

fn unix(path: &str) -> Option<Address> {
    let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
    path.is_absolute().then_some(Address::Unix(path))
}

fn plain(authority: &str) -> Option<SocketAddr> {
    let port = authority
        .strip_prefix("localhost")
        .unwrap_or(authority)
        .strip_prefix(':');
    let mut address = match port {
        Some(port) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.parse().ok()?),
        None => authority.parse().ok()?,
    };
    address.set_ip(listening(address.ip()));
    Some(address)
}

fn tls(authority: &str) -> Option<Address> {
    let (host, port) = authority.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let bare = host
        .strip_prefix('[')
        .map_or(Some(host), |rest| rest.strip_suffix(']'))?;
    let host = match bare.parse::<IpAddr>() {
        Ok(ip) if ip.is_ipv6() != (bare != host) => return None,
        Ok(ip) => listening(ip).to_string(),
        Err(_) if bare.is_empty() && host.is_empty() => Ipv4Addr::LOCALHOST.to_string(),
        Err(_) if bare == host && is_name(host) => host.to_owned(),
        Err(_) => return None,
    };
    Some(Address::Tls { host, port })
}

fn is_name(host: &str) -> bool {
    rustls::pki_types::DnsName::try_from(host).is_ok()
}

/// Who listens everywhere listens on the loopback.
fn listening(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_plane_is_found_in_every_spelling() {
        for (text, wanted) in [
            ("127.0.0.1:9901", "127.0.0.1:9901"),
            (":9901", "127.0.0.1:9901"),
            ("localhost:9901", "127.0.0.1:9901"),
            ("http://127.0.0.1:9901", "127.0.0.1:9901"),
            ("HTTP://localhost:1/", "127.0.0.1:1"),
            ("http://[::1]:9901/", "[::1]:9901"),
            ("0.0.0.0:9901", "127.0.0.1:9901"),
            ("[::]:9901", "[::1]:9901"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("unix:/run/admin", "unix:/run/admin"),
            ("unix:///run/admin", "unix:/run/admin"),
            ("https://127.0.0.1:9901", "https://127.0.0.1:9901"),
            ("https://[::1]:9901/", "https://[::1]:9901"),
            ("https://:9901", "https://127.0.0.1:9901"),
            ("https://[::]:9901", "https://[::1]:9901"),
            ("https://admin.example:1", "https://admin.example:1"),
            ("https://localhost:1", "https://localhost:1"),
        ] {
            let address = Address::parse(text, false).unwrap();
            assert_eq!(address.to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn where_the_sidecar_speaks_tls_an_address_without_a_scheme_means_so() {
        for (text, wanted) in [
            (":9901", "https://127.0.0.1:9901"),
            ("0.0.0.0:9901", "https://127.0.0.1:9901"),
            ("admin.example:9901", "https://admin.example:9901"),
            ("http://127.0.0.1:9901", "127.0.0.1:9901"),
            ("unix:/run/admin", "unix:/run/admin"),
        ] {
            let address = Address::parse(text, true).unwrap();
            assert_eq!(address.to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_said_with_those_that_are() {
        for text in [
            "",
            "9901",
            "127.0.0.1",
            ":99010",
            "localhost",
            "admin.example:9901",
            "http://127.0.0.1:9901/logs",
            "https://",
            "https://a",
            "https://a:0",
            "https://a b:1",
            "https://a:1/logs",
            "https://::1:9901",
            "https://[a]:9901",
            "https://[]:9901",
            "https://[127.0.0.1]:9901",
        ] {
            let error = Address::parse(text, false).unwrap_err();
            assert!(error.contains("is not an address"), "{text}: {error}");
        }
        for (text, word) in [
            ("unix:admin.sock", "absolute path"),
            ("ftp://127.0.0.1:1", "ftp is not spoken"),
        ] {
            let error = Address::parse(text, false).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_host_is_one_that_the_admin_plane_lets_in() {
        for (text, host) in [
            ("unix:/run/admin", "localhost"),
            (":9901", "127.0.0.1:9901"),
            ("https://[::1]:9901", "[::1]:9901"),
            ("https://admin.example:9901", "admin.example:9901"),
        ] {
            assert_eq!(Address::parse(text, false).unwrap().host(), host);
        }
    }
}
