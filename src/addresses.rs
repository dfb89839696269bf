//! Where the sidecar listens, with the ports that the system picked.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::config::AdminAddress;
use crate::planes::AdminSocket;
use crate::upstream::OwnPorts;
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
}

impl Addresses {
    pub(crate) fn of(doors: &Doors, admin: &AdminSocket, probe: &TcpListener) -> io::Result<Self> {
        let redirect = doors.redirect.as_ref();
        Ok(Self {
            https: doors.https.local_addr()?,
            redirect: redirect.map(TcpListener::local_addr).transpose()?,
            admin: admin.address()?,
            probe: probe.local_addr()?,
        })
    }

    /// What no target may lead back to.
    pub(crate) fn own_ports(&self) -> OwnPorts {
        let mut tcp = vec![self.https, self.probe];
        tcp.extend(self.redirect);
        let mut unix = Vec::new();
        match &self.admin {
            AdminAddress::Tcp(address) => tcp.push(*address),
            AdminAddress::Unix(path) => unix.push(path.clone()),
        }
        OwnPorts { tcp, unix }
    }
}
