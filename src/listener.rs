//! Binding, and an accept loop that cannot die.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::census::Presence;
use crate::crowd::Seat;
use crate::own_dials::OwnDials;
use crate::places::{Place, Places};
use crate::wire::Wire;

/// A connection as it comes in.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: Wire,
    pub(crate) client: SocketAddr,
    pub(crate) at: Instant,
    pub(crate) slot: Slot,
    /// What it is counted as.
    pub(crate) presence: Rc<Presence>,
    /// It is the sidecar itself that looks at what it serves.
    pub(crate) is_own: bool,
    /// A load balancer has passed it on, and not said for whom.
    pub(crate) is_unnamed: bool,
}

/// Binds and listens. A wildcard IPv6 address is dual stack, and IPv4 only where the kernel has no IPv6.
///
/// # Errors
/// What the system says, with the address and a hint.
pub(crate) fn bind(what: &str, address: SocketAddr) -> Result<StdListener, String> {
    let bound = listen(address).or_else(|error| match address {
        SocketAddr::V6(v6) if v6.ip().is_unspecified() && is_without_ipv6(&error) => {
            listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        _ => Err(error),
    });
    bound.map_err(|error| format!("binding {what} to {address}: {error}{}", hint(&error)))
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for the connections of the process before it.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // What is accepted inherits these from Linux (gVisor gives on less): set on each connection they would be six system calls.
    Wire::prepare(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn is_without_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [
        rustix::io::Errno::AFNOSUPPORT,
        rustix::io::Errno::ADDRNOTAVAIL,
    ]
    .iter()
    .any(|errno| code == Some(errno.raw_os_error()))
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            " (another process listens there; choose another port, or 0 for any free one)"
        }
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need a privilege a sidecar should not have; choose a higher one)"
        }
        io::ErrorKind::AddrNotAvailable => " (this host does not have that address)",
        _ => "",
    }
}

/// How many connections may be open, over all workers; the sidecar's own do not count.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    places: Places,
    own: Arc<OwnDials>,
}

/// One connection's place; dropped with it. The sidecar's own connections have none.
#[derive(Debug)]
pub(crate) struct Slot {
    _place: Option<Place>,
    /// Its place among those of its client, where these are counted.
    seat: Option<Seat>,
}

impl Gate {
    pub(crate) fn new(most: usize, own: Arc<OwnDials>) -> Self {
        Self {
            places: Places::new(most),
            own,
        }
    }

    fn enter(&self) -> Option<Slot> {
        self.places.take().map(|place| Slot {
            _place: Some(place),
            seat: None,
        })
    }
}

impl Slot {
    /// It is this client's.
    pub(crate) fn of(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }
}

/// Accepts until the future is dropped, and hands each connection to `serve`; `refused` is told of those over the limit.
pub(crate) async fn accept(
    listener: TcpListener,
    gate: Gate,
    serve: impl Fn(Accepted),
    refused: impl Fn(),
) {
    let mut complained = false;
    let mut inherits = None;
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_the_connections_own(&error) => continue,
            Err(error) => {
                // Out of descriptors or memory: accepting at full speed would only burn the CPU that those who could
                // free some need.
                if !complained {
                    tracing::error!(%error, "accepting connections fails; going on every {BACK_OFF:?}");
                }
                complained = true;
                sleep(BACK_OFF).await;
                continue;
            }
        };
        complained = false;
        if !*inherits.get_or_insert_with(|| Wire::is_prepared(&stream)) {
            Wire::prepare(&stream);
        }
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let is_own = gate.own.contain(client);
        let slot = if is_own {
            Some(Slot {
                _place: None,
                seat: None,
            })
        } else {
            gate.enter()
        };
        let Some(slot) = slot else {
            refused();
            continue;
        };
        serve(Accepted {
            stream: Wire::new(stream),
            client,
            at: Instant::now(),
            slot,
            presence: Presence::new(),
            is_own,
            is_unnamed: false,
        });
    }
}

/// The connection went away before it was accepted: nobody's trouble but its own.
fn is_the_connections_own(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

const BACKLOG: i32 = 4096;
const BACK_OFF: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_accepted_inherits_the_options_of_its_listener() {
        for address in ["127.0.0.1:0", "[::]:0"] {
            let listener = bind("a listener", address.parse().unwrap()).unwrap();
            let port = listener.local_addr().unwrap().port();
            let listener = TcpListener::from_std(listener).unwrap();
            let client = tokio::net::TcpStream::connect(("127.0.0.1", port));
            let (client, accepted) = tokio::join!(client, listener.accept());
            assert!(Wire::is_prepared(&accepted.unwrap().0), "{address}");
            assert!(!Wire::is_prepared(&client.unwrap()), "{address}");
        }
    }
}
