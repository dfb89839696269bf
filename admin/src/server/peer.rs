//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// The other end of a connection, as far as the system and TLS vouch for it.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Over TCP.
    Tcp {
        /// Where it comes from.
        address: SocketAddr,
        /// The name in its certificate, where one was asked for and proven.
        certificate: Option<Arc<str>>,
    },
    /// Over a Unix socket: what the kernel says of the process that connected (`SO_PEERCRED`).
    Unix {
        /// Its user.
        uid: u32,
        /// Its number, where it is in a name space that we see.
        pid: Option<i32>,
    },
}

/// What counts as one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    /// An address; of IPv6 the /64 that it is from, of which one host has all.
    Ip(IpAddr),
    /// Who has shown the token of this name.
    Token(Arc<str>),
    Uid(u32),
}

impl ClientKey {
    pub(super) fn of(ip: IpAddr) -> Self {
        Self::Ip(match ip.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => {
                let [a, b, c, d, ..] = v6.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            ip => ip,
        })
    }
}

impl Peer {
    pub(crate) fn key(&self) -> ClientKey {
        match self {
            Self::Tcp { address, .. } => ClientKey::of(address.ip()),
            Self::Unix { uid, .. } => ClientKey::Uid(*uid),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp {
                address,
                certificate: None,
            } => write!(f, "{address}"),
            Self::Tcp {
                address,
                certificate: Some(name),
            } => write!(f, "{name} at {address}"),
            Self::Unix { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Unix {
                uid,
                pid: Some(pid),
            } => write!(f, "uid {uid} pid {pid}"),
        }
    }
}

#[cfg(test)]
impl ClientKey {
    pub(crate) fn of_ip(ip: &str) -> Self {
        Self::of(ip.parse().unwrap())
    }
}
