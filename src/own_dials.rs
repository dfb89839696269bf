//! Connections that the sidecar makes to itself, to see with a client's eyes what it serves. The listener knows them by the
//! port they come from, which is bound before it is dialled: nobody else can come from there.

use std::any::Any;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_certs::OwnListener;
use socket2::{Domain, Protocol, Socket, Type};

/// The connections of this kind that are open now.
#[derive(Debug, Default)]
pub(crate) struct OwnDials {
    /// Read at each accept; the list is only looked at when there is something in it.
    count: AtomicUsize,
    from: Mutex<Vec<SocketAddr>>,
}

impl OwnDials {
    /// Whether a connection from this address is ours.
    pub(crate) fn contain(&self, client: SocketAddr) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.with(|from| from.contains(&client))
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Vec<SocketAddr>) -> T) -> T {
        use_it(&mut self.from.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The way to the HTTPS listener.
#[derive(Debug)]
pub(crate) struct FrontDoor {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    pub(crate) own: Arc<OwnDials>,
}

impl OwnListener for FrontDoor {
    fn dial(&self) -> io::Result<(TcpStream, Box<dyn Any + Send>)> {
        let (first, second) = reachable(self.address.ip());
        self.dial_at(first).or_else(|error| match second {
            Some(second) => self.dial_at(second),
            None => Err(error),
        })
    }
}

impl FrontDoor {
    fn dial_at(&self, ip: IpAddr) -> io::Result<(TcpStream, Box<dyn Any + Send>)> {
        let to = SocketAddr::new(ip, self.address.port());
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        // From the very address it goes to, which is one of this host's.
        socket.bind(&SocketAddr::new(to.ip(), 0).into())?;
        let from = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("no address of its own"))?;
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let known = Known {
            from,
            own: Arc::clone(&self.own),
        };
        self.own.with(|list| list.push(from));
        self.own.count.fetch_add(1, Ordering::Release);
        socket.connect_timeout(&to.into(), CONNECT)?;
        Ok((socket.into(), Box::new(known)))
    }
}

/// Where to dial what listens there, and where else. A dual-stack listener may stand on a host whose ::1 is switched off.
fn reachable(ip: IpAddr) -> (IpAddr, Option<IpAddr>) {
    let v4 = IpAddr::from(Ipv4Addr::LOCALHOST);
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => (v4, None),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST.into(), Some(v4)),
        ip => (ip, None),
    }
}

/// Forgets the connection when it is over.
struct Known {
    from: SocketAddr,
    own: Arc<OwnDials>,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.own.with(|list| list.retain(|from| *from != self.from));
        self.own.count.fetch_sub(1, Ordering::Release);
    }
}

const CONNECT: Duration = Duration::from_secs(2);
