//! Whether the application can be reached past the sidecar: what listens on the target's port, and where. A TLS-terminating
//! sidecar protects nothing that also listens on the pod's address.

mod guard;
mod listeners;

use std::net::SocketAddr;

use crate::upstream::{Endpoint, OwnPorts, TargetUrl};

pub(crate) use guard::Guard;

/// What a look has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A Unix socket has no port that anybody could reach.
    NoPort,
    /// The target is not on the loopback, so it is not looked at.
    Elsewhere,
    /// What listens on the target's port.
    Port {
        port: u16,
        /// All but the loopback.
        reachable_at: Vec<SocketAddr>,
    },
    /// The system does not tell.
    Unknown { port: u16, why: String },
}

/// Reads what listens in this network namespace, which all containers of a pod share. It blocks for some milliseconds.
pub(crate) fn look(url: &TargetUrl, own: &OwnPorts) -> Finding {
    let port = match url.endpoint() {
        Endpoint::Unix(_) => return Finding::NoPort,
        Endpoint::Address(address) if url.is_local() => address.port(),
        Endpoint::Localhost(port) => *port,
        Endpoint::Address(_) | Endpoint::Name(..) => return Finding::Elsewhere,
    };
    match listeners::all() {
        Ok(listening) => Finding::Port {
            port,
            reachable_at: reachable(&listening, port, own),
        },
        Err(error) => Finding::Unknown {
            port,
            why: error.to_string(),
        },
    }
}

/// Where the containers of the pod listen, but for this process; as far as the system tells.
pub(crate) fn listening(own: &OwnPorts) -> Vec<SocketAddr> {
    let mut found = listeners::all().unwrap_or_default();
    found.retain(|address| !is_own(address, own));
    found.sort_unstable();
    found.dedup();
    found
}

/// What listens on this port, is no listener of this process, and is reached from outside the loopback.
fn reachable(listening: &[SocketAddr], port: u16, own: &OwnPorts) -> Vec<SocketAddr> {
    let mut found: Vec<_> = listening
        .iter()
        .filter(|address| address.port() == port)
        .filter(|address| !address.ip().to_canonical().is_loopback())
        .filter(|address| !is_own(address, own))
        .copied()
        .collect();
    found.sort_unstable();
    // Several processes may share one address.
    found.dedup();
    found
}

fn is_own(address: &SocketAddr, own: &OwnPorts) -> bool {
    let canonical = |address: &SocketAddr| (address.ip().to_canonical(), address.port());
    let mut own = own.tcp.iter();
    own.any(|own| canonical(own) == canonical(address))
}

impl Finding {
    /// What is wrong with it, in words.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self {
            Self::NoPort | Self::Elsewhere => None,
            Self::Port { reachable_at, .. } if reachable_at.is_empty() => None,
            Self::Port { reachable_at, .. } => Some(format!(
                "the application can be reached past the sidecar, in plain HTTP, at {}",
                listed(reachable_at)
            )),
            Self::Unknown { port, why } => Some(format!(
                "whether port {port} of the application can be reached past the sidecar is not known: {why}"
            )),
        }
    }

    /// What to do about it.
    pub(crate) fn fix(&self) -> Option<String> {
        match self {
            Self::Port { port, reachable_at } if !reachable_at.is_empty() => Some(format!(
                "bind the application to 127.0.0.1:{port} (often a setting like HOST, BIND or --host), or have a NetworkPolicy that leaves only the TLS port open"
            )),
            Self::Unknown { .. } => {
                Some("let the sidecar read /proc/self/net/tcp and tcp6".to_owned())
            }
            Self::NoPort | Self::Elsewhere | Self::Port { .. } => None,
        }
    }

    /// Why it does not prove that only the loopback leads to the application.
    pub(crate) fn doubt(&self) -> Option<String> {
        match self {
            Self::Elsewhere => Some("the target is not on the loopback".to_owned()),
            _ => self.trouble(),
        }
    }
}

/// Addresses as they stand in a sentence.
pub(crate) fn listed(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_the_loopback_is_out_of_reach() {
        let listening = addresses(&[
            "127.0.0.1:8080",
            "127.0.0.9:8080",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:8080",
            "0.0.0.0:8081",
            "[::]:8443",
        ]);
        assert_eq!(reachable(&listening, 8080, &OwnPorts::default()), []);
        for exposed in [
            "0.0.0.0:8080",
            "[::]:8080",
            "10.1.2.3:8080",
            "[fd00::1]:8080",
            "[fe80::1]:8080",
            "[::ffff:0.0.0.0]:8080",
            "[::ffff:10.1.2.3]:8080",
        ] {
            let exposed = addresses(&[exposed, exposed]);
            let all = [&listening[..], &exposed].concat();
            assert_eq!(
                reachable(&all, 8080, &OwnPorts::default()),
                exposed[..1],
                "{exposed:?}"
            );
        }
    }

    #[test]
    fn own_listeners_are_not_the_application() {
        let listening = addresses(&["[::]:8443", "10.1.2.3:8080", "10.1.2.4:8080"]);
        let own = OwnPorts {
            tcp: addresses(&["[::]:8443", "10.1.2.3:8080"]),
            ..OwnPorts::default()
        };
        assert_eq!(reachable(&listening, 8443, &own), []);
        assert_eq!(
            reachable(&listening, 8080, &own),
            addresses(&["10.1.2.4:8080"])
        );
    }

    #[test]
    fn only_targets_on_the_loopback_are_looked_at() {
        let found = |url: &str| look(&TargetUrl::parse(url).unwrap(), &OwnPorts::default());
        assert_eq!(found("unix:/run/app.sock"), Finding::NoPort);
        for url in [
            "http://10.1.2.3:80",
            "http://app.internal",
            "http://0.0.0.0:80",
        ] {
            assert_eq!(found(url), Finding::Elsewhere, "{url}");
        }
        for url in ["http://localhost:1", "h2c://127.0.0.1:1", "http://[::1]:1"] {
            let nothing = Finding::Port {
                port: 1,
                reachable_at: Vec::new(),
            };
            assert_eq!(found(url), nothing, "{url}");
        }
    }

    #[test]
    fn what_is_not_known_proves_nothing() {
        let unknown = Finding::Unknown {
            port: 8080,
            why: "permission denied".to_owned(),
        };
        assert!(unknown.doubt().unwrap().contains("permission denied"));
        assert!(Finding::Elsewhere.doubt().is_some() && Finding::Elsewhere.trouble().is_none());
        assert_eq!(Finding::NoPort.doubt(), None);
    }
}
