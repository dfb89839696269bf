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
    pub unix: Vec<OwnSocket>,
}

/// A Unix socket of this process.
#[derive(Clone, Debug)]
pub(crate) struct OwnSocket {
    /// Where it was bound.
    pub path: PathBuf,
    /// Device and inode, by which it is known also when somebody has moved it; none before it is bound.
    pub identity: Option<(u64, u64)>,
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
        if self.unix.is_empty() {
            return false;
        }
        let asked = path.metadata().ok().map(|facts| (facts.dev(), facts.ino()));
        let is_it = |own: &OwnSocket| own.path == path || asked.is_some() && asked == own.identity;
        self.unix.iter().any(is_it)
    }
}

/// An address without the clothes of IPv6: `::ffff:127.0.0.1`, and what a gateway would undress: NAT64 (RFC 6052 and 8215),
/// SIIT (RFC 2765) and 6to4 (RFC 3056).
pub(super) fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else {
        return ip.to_canonical();
    };
    let ([0x64, 0xff9b, 0, 0, 0, 0, a, b]
    | [0x64, 0xff9b, 1, _, _, _, a, b]
    | [0, 0, 0, 0, 0xffff, 0, a, b]
    | [0x2002, a, b, ..]) = v6.segments()
    else {
        return v6.into();
    };
    // As a mapped address has them.
    Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, a, b).to_canonical()
}

/// Whether an address is one of this host's: only those can be bound.
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}
