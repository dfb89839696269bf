//! Where the sidecar listens, with the ports that the system picked.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::upstream::OwnPorts;
use crate::worker::Doors;

/// The addresses in use.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// HTTPS.
    pub https: SocketAddr,
    /// Plain HTTP, redirected.
    pub redirect: Option<SocketAddr>,
    /// The admin plane.
    pub admin: SocketAddr,
    /// The probe plane.
    pub probe: SocketAddr,
}

impl Addresses {
    pub(crate) fn of(doors: &Doors, admin: &TcpListener, probe: &TcpListener) -> io::Result<Self> {
        let redirect = doors.redirect.as_ref();
        Ok(Self {
            https: doors.https.local_addr()?,
            redirect: redirect.map(TcpListener::local_addr).transpose()?,
            admin: admin.local_addr()?,
            probe: probe.local_addr()?,
        })
    }

    /// What no target may lead back to.
    pub(crate) fn own_ports(&self) -> OwnPorts {
        OwnPorts(
            [self.https, self.admin, self.probe]
                .into_iter()
                .chain(self.redirect)
                .collect(),
        )
    }
}
