//! Where the sidecar listens, with the ports that the system picked.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::config::AdminAddress;
use crate::planes::AdminSocket;
use crate::upstream::{OwnPorts, OwnSocket};
use crate::worker::Doors;

/// The addresses in use.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// HTTPS.
    pub https: SocketAddr,
    /// Plain HTTP, redirected.
    pub redirect: Option<SocketAddr>,
    /// The admin plane.
    pub admin: AdminAddress,
    /// The probe plane.
    pub probe: SocketAddr,
    /// The admin plane's socket, where it is one.
    socket: Option<OwnSocket>,
}

impl Addresses {
    pub(crate) fn of(doors: &Doors, admin: &AdminSocket, probe: &TcpListener) -> io::Result<Self> {
        let redirect = doors.redirect.as_ref();
        Ok(Self {
            https: doors.https.local_addr()?,
            redirect: redirect.map(TcpListener::local_addr).transpose()?,
            admin: admin.address()?,
            probe: probe.local_addr()?,
            socket: admin.socket(),
        })
    }

    /// The ports at which the sidecar looks at itself as a client would: what it serves there is what it says it does.
    pub fn looked_at(&self) -> Vec<u16> {
        let admin = match self.admin {
            AdminAddress::Tcp(address) => Some(address.port()),
            AdminAddress::Unix(_) => None,
        };
        admin.into_iter().chain([self.https.port()]).collect()
    }

    /// What no target may lead back to.
    pub(crate) fn own_ports(&self) -> OwnPorts {
        let mut tcp = vec![self.https, self.probe];
        tcp.extend(self.redirect);
        if let AdminAddress::Tcp(address) = self.admin {
            tcp.push(address);
        }
        let unix = self.socket.iter().cloned().collect();
        OwnPorts { tcp, unix }
    }
}
