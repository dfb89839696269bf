//! Where clients of a plane come in.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::peer::{ClientKey, Peer};
use crate::handles::Waiting;

/// A listener.
pub enum Door {
    /// TCP, in clear or with whatever makes it secure.
    Tcp(TcpListener, Option<Arc<dyn Secure>>),
    /// A Unix socket.
    Unix(UnixListener),
}

/// Makes a connection secure.
pub trait Secure: Send + Sync {
    /// Shakes hands. The caller limits how long that may take.
    fn secure(&self, stream: TcpStream) -> Waiting<'static, io::Result<Secured>>;
}

/// A connection after its handshake.
pub struct Secured {
    /// What is read is what the client wrote.
    pub io: Box<dyn Io>,
    /// The name in the client's certificate, where one was asked for and proven.
    pub client: Option<Arc<str>>,
}

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection as it comes in.
pub(super) enum Arrived {
    Tcp(TcpStream, SocketAddr, Option<Arc<dyn Secure>>),
    Unix(UnixStream),
}

impl Door {
    pub(super) async fn accept(&self) -> io::Result<Arrived> {
        match self {
            Self::Tcp(listener, secure) => {
                let (stream, client) = listener.accept().await?;
                Ok(Arrived::Tcp(stream, client, secure.clone()))
            }
            Self::Unix(listener) => Ok(Arrived::Unix(listener.accept().await?.0)),
        }
    }
}

impl Arrived {
    /// The client, where it comes from the network.
    pub(super) fn network(&self) -> Option<ClientKey> {
        match self {
            Self::Tcp(_, client, _) if !client.ip().to_canonical().is_loopback() => {
                Some(ClientKey::of(client.ip()))
            }
            Self::Tcp(..) | Self::Unix(_) => None,
        }
    }

    /// What to talk over, and with whom.
    pub(super) async fn enter(self) -> io::Result<(Box<dyn Io>, Peer)> {
        Ok(match self {
            Self::Tcp(stream, client, secure) => {
                let address = SocketAddr::new(client.ip().to_canonical(), client.port());
                let (io, certificate): (Box<dyn Io>, _) = match secure {
                    None => (Box::new(stream), None),
                    Some(secure) => {
                        let secured = secure.secure(stream).await?;
                        (secured.io, secured.client)
                    }
                };
                (
                    io,
                    Peer::Tcp {
                        address,
                        certificate,
                    },
                )
            }
            Self::Unix(stream) => {
                let known = stream.peer_cred()?;
                let (uid, pid) = (known.uid(), known.pid());
                // However it was led here: what clients of the application ask is not asked of this plane.
                if pid.is_some_and(|pid| pid.unsigned_abs() == std::process::id()) {
                    return Err(io::Error::other("it comes from this very process"));
                }
                (Box::new(stream), Peer::Unix { uid, pid })
            }
        })
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener, secure) => f
                .debug_struct("Tcp")
                .field("listener", listener)
                .field("is_secure", &secure.is_some())
                .finish(),
            Self::Unix(listener) => f.debug_tuple("Unix").field(listener).finish(),
        }
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
