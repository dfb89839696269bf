//! Clients that leave before there is a request: in the handshake, or in a head.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::http1::{PATIENCE, leave};
use crate::world::World;

/// One after the other.
pub(crate) async fn clients(world: Arc<World>, mut rng: fastrand::Rng) {
    while world.goes_on() {
        let left = if rng.u8(..3) == 0 {
            in_a_head(&world, &mut rng).await
        } else {
            in_the_handshake(&world, &mut rng).await
        };
        if let Err(error) = left {
            world.violated(format!("a client could not even leave: {error}"));
        }
        world.pause(&mut rng, 50..400).await;
    }
}

async fn in_the_handshake(world: &World, rng: &mut fastrand::Rng) -> io::Result<()> {
    let mut stream = world.dialer.tcp().await?;
    world.books.expect_from(stream.local_addr()?.port());
    match rng.u8(..5) {
        0 => {
            world.happened("left without a byte");
        }
        1 => {
            world.happened("left in a ClientHello");
            let hello = hello()?;
            stream
                .write_all(&hello[..rng.usize(1..hello.len())])
                .await?;
        }
        2 => {
            world.happened("spoke no TLS");
            stream.write_all(b"\x01nothing that is TLS").await?;
            await_end(&mut stream).await;
        }
        3 => {
            world.happened("refused the certificate");
            stream.write_all(&hello()?).await?;
            stream.read_exact(&mut [0; 5]).await?;
            // A fatal alert in clear: unknown_ca.
            stream.write_all(b"\x15\x03\x03\x00\x02\x02\x30").await?;
        }
        _ => {
            world.happened("left behind a ServerHello");
            stream.write_all(&hello()?).await?;
            stream.read_exact(&mut [0; 5]).await?;
        }
    }
    if rng.bool() {
        stream.set_zero_linger()?;
    }
    Ok(())
}

async fn in_a_head(world: &World, rng: &mut fastrand::Rng) -> io::Result<()> {
    let Some(mut stream) = world.dialer.http1(rng).await else {
        return Ok(());
    };
    world.happened("left in a head");
    world
        .books
        .expect_from(stream.get_ref().0.local_addr()?.port());
    stream.write_all(b"GET /half HTTP/1.1\r\nHo").await?;
    stream.flush().await?;
    // A reset must not overtake what was said.
    sleep(Duration::from_millis(300)).await;
    leave(stream, rng).await;
    Ok(())
}

async fn await_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
}

/// A ClientHello as it is on the wire.
fn hello() -> io::Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}
