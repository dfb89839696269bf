//! Where this very process listens: forwarding to any of these would go round in circles, or hand the admin plane to clients.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::upstream::target::{Endpoint, Target, TargetUrl};

/// The listeners of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnPorts {
    /// TCP.
    pub tcp: Vec<SocketAddr>,
    /// Unix sockets.
    pub unix: Vec<PathBuf>,
}

impl OwnPorts {
    /// Whether this target leads to one of them. What a name means is known only when connecting, and asked again there.
    pub(crate) fn are_target(&self, url: &TargetUrl) -> bool {
        match url.endpoint() {
            Endpoint::Address(address) => self.contains(*address),
            Endpoint::Localhost(port) => {
                let loopbacks = Target::new(0, url.clone()).loopbacks(*port);
                loopbacks.iter().any(|address| self.contains(*address))
            }
            Endpoint::Unix(path) => self.contains_path(path),
            Endpoint::Name(..) => false,
        }
    }

    /// Whether connecting to `address` reaches this process.
    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        let ip = plain(address.ip());
        self.tcp.iter().any(|own| {
            let listening = plain(own.ip());
            own.port() == address.port()
                // Connecting to "any" address means this host.
                && (ip.is_unspecified()
                    || listening == ip || (listening.is_unspecified() && is_here(ip)))
        })
    }

    /// Whether the socket at `path` is one of this process, however many links lead there.
    pub(crate) fn contains_path(&self, path: &Path) -> bool {
        let identity = |path: &Path| {
            let facts = path.metadata().ok()?;
            Some((facts.dev(), facts.ino()))
        };
        self.unix.iter().any(|own| {
            own == path || identity(path).is_some_and(|asked| identity(own) == Some(asked))
        })
    }
}

/// An address without the clothes of IPv6: `::ffff:127.0.0.1`, and `64:ff9b::127.0.0.1` which a NAT64 gateway (RFC 6052)
/// would undress.
pub(super) fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else {
        return ip.to_canonical();
    };
    let [0x64, 0xff9b, 0, 0, 0, 0, ..] = v6.segments() else {
        return v6.into();
    };
    // The last 32 bits, as a mapped address has them.
    let [.., a, b] = v6.segments();
    Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, a, b).to_canonical()
}

/// Whether an address is one of this host's: only those can be bound.
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}
