//! The way to an admin plane: a connection over TCP or a Unix socket, and TLS on it where that is spoken.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use portcullis_admin::Io;
use tokio::net::{TcpStream, UnixStream};

use super::Trouble;
use super::address::Address;
use super::plane::Plane;
use super::tls::Tls;
use crate::causes::with_causes;

/// Connects.
pub(super) async fn connect(plane: &Plane) -> Result<Box<dyn Io>, Trouble> {
    let refused = |error: io::Error| {
        Trouble::Unreachable(format!(
            "no admin plane at {}: {error}; is the sidecar running, and is --admin right?",
            plane.address
        ))
    };
    let stream: Box<dyn Io> = match &plane.address {
        Address::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(refused)?),
        Address::Plain(address) => Box::new(TcpStream::connect(address).await.map_err(refused)?),
        Address::Tls { host, port } => Box::new(resolved(host, *port).await.map_err(refused)?),
    };
    match &plane.tls {
        Some(tls) => secured(plane, tls, stream).await,
        None => Ok(stream),
    }
}

/// `localhost` means both loopbacks, also where no resolver knows it.
async fn resolved(host: &str, port: u16) -> io::Result<TcpStream> {
    if host.eq_ignore_ascii_case("localhost") {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        return TcpStream::connect(&[v4, v6][..]).await;
    }
    TcpStream::connect((host, port)).await
}

async fn secured(plane: &Plane, tls: &Tls, stream: Box<dyn Io>) -> Result<Box<dyn Io>, Trouble> {
    let secured = tls.connector.connect(tls.name.clone(), stream).await;
    match secured {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) if error.to_string().contains("CaUsedAsEndEntity") => {
            Err(Trouble::Unreachable(format!(
                "no TLS with {}: its certificate is a CA's own, which is nobody's certificate here; make one that is not (openssl req -x509 … -addext basicConstraints=CA:FALSE), or have a CA issue it",
                plane.address
            )))
        }
        Err(error) => Err(Trouble::Unreachable(format!(
            "no TLS with {}: {error}; is it --admin-ca that its certificate comes from, and has that the name {}, or which --admin-server-name?",
            plane.address,
            tls.name.to_str()
        ))),
    }
}

/// What answers is not understood, or went away.
pub(super) fn odd(plane: &Plane, error: &hyper::Error) -> Trouble {
    let why = with_causes(error);
    let address = &plane.address;
    if plane.tls.as_ref().is_some_and(|tls| !tls.has_certificate)
        && why.contains("CertificateRequired")
    {
        return Trouble::Unreachable(format!(
            "{address} wants a certificate from its clients; give --admin-client-cert and --admin-client-key"
        ));
    }
    let hint = match address {
        Address::Plain(_) => "; if it speaks TLS, say https://",
        Address::Unix(_) | Address::Tls { .. } => "",
    };
    Trouble::Unreachable(format!(
        "what answers at {address} is no admin plane: {why}{hint}"
    ))
}
