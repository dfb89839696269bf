//! The handshake: one deadline for all of it, the generation taken once, and failures sorted into words.

mod client;
mod crowd;
mod hello;
mod scratch;
mod session;
mod stream;
mod words;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_certs::Generation;
use rustls::{CommonState, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use crate::conn::{Conn, TlsFacts};
use crate::failure::Reason;
use crate::listener::{Accepted, Slot};
use crate::metrics::{Counted, HandshakeFacts};
use crate::records::{self, Handshake};
use crate::wire::Wire;
use crate::worker::Worker;
use client::{peer, tenure, verify_again};
pub(crate) use crowd::Crowd;
use hello::{FIRST, Hello};
pub(crate) use scratch::Scratch;
pub(crate) use stream::Stream;
use words::sort;

/// A connection after its handshake.
pub(crate) struct Secured {
    /// Boxed: it is moved from stage to stage, and each would keep room for it in the connection's task.
    pub(crate) stream: Box<Stream>,
    pub(crate) conn: Rc<Conn>,
    pub(crate) protocol: Protocol,
    /// Held until the connection is closed.
    pub(crate) slot: Slot,
}

/// What came of a connection.
pub(crate) enum Arrived {
    Secured(Secured),
    /// The client speaks HTTP in clear; nothing of it was read.
    Plain(Accepted),
}

/// What ALPN agreed on. A client that offers nothing speaks HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Shakes hands, or records why not. From here on the connection keeps the generation it was given.
pub(crate) async fn handshake(accepted: Accepted, worker: &Worker) -> Option<Arrived> {
    let Accepted {
        stream,
        client,
        at,
        slot,
        presence,
        is_own,
        is_unnamed,
    } = accepted;
    let site = &worker.site;
    let generation = worker.certificates.current();
    if is_own {
        look(stream, &generation).await;
        return None;
    }
    let Some(place) = worker.handshakes.enter(stream.gauge()) else {
        let full = (Reason::HandshakesFull, ALL_BUSY);
        failed(worker, client, at, full, (&Hello::default(), &generation));
        return None;
    };
    let handshaking = Counted::new(&site.meter.conns.handshaking);
    let deadline = at + worker.config.limits.handshake_timeout;
    let hello = Hello::new();
    // Boxed, so that the room for its state is given back as soon as it is over.
    let shaking = Box::pin(shake(stream, &generation, &hello, &worker.scratch));
    let mut refused = None;
    let shaken = tokio::select! {
        shaken = timeout_at(deadline.into(), shaking) => match shaken {
            Ok(Shaken::Secured(stream)) => {
                verify_again(stream.state(), &generation, &worker.certificates)
                    .map(|()| stream)
            }
            Ok(Shaken::Plain(stream)) => {
                let plain = Accepted { stream, client, at, slot, presence, is_own, is_unnamed };
                return Some(Arrived::Plain(plain));
            }
            Ok(Shaken::Failed(error, stream)) => {
                refused = stream;
                Err(sort(&error, &generation, &hello))
            }
            Err(_) => Err((Reason::HandshakeTimeout, TOO_SLOW.to_owned())),
        },
        () = place.given_away() => Err((Reason::HandshakesFull, GAVE_WAY.to_owned())),
        // No exchange is lost by that: it does not count as cut.
        () = worker.given_up() => Err((Reason::DrainCut, GIVEN_UP.to_owned())),
    };
    drop((handshaking, place));
    let stream = match shaken {
        Ok(stream) => stream,
        Err((reason, detail)) => {
            failed(worker, client, at, (reason, &detail), (&hello, &generation));
            if let Some(stream) = refused.filter(|_| reason.is_told_by_alert()) {
                Box::pin(let_alert_arrive(stream)).await;
            }
            return None;
        }
    };
    let peer = peer(stream.state(), hello.sni(), &generation);
    let tenure = tenure(stream.state(), &generation, worker);
    let (tls, protocol) = facts(stream.state(), hello.sni(), generation);
    let took = at.elapsed();
    site.meter.handshake(&HandshakeFacts {
        reason: None,
        tls: Some(&tls),
        took,
    });
    let conn = Conn {
        site: site.clone(),
        client,
        client_ip: client.ip().to_string().into(),
        is_unnamed,
        tls: Some(tls),
        handshake: Cell::new(Some(took)),
        peer: peer.map(Box::new),
        tenure,
        wire: stream.wire().gauge(),
        cut: Cell::new(None),
        presence,
    };
    Some(Arrived::Secured(Secured {
        stream,
        conn: Rc::new(conn),
        protocol,
        slot,
    }))
}

/// Leaves the record of a handshake that failed.
fn failed(
    worker: &Worker,
    client: SocketAddr,
    accepted: Instant,
    (reason, detail): (Reason, &str),
    (hello, generation): (&Hello, &Generation),
) {
    let failed = Handshake {
        client,
        accepted,
        reason,
        detail,
        sni: hello.sni(),
        alpn: hello.alpn(),
        generation: generation.number,
    };
    records::handshake(&worker.site, &failed);
}

enum Shaken {
    Secured(Box<Stream>),
    Plain(Wire),
    Failed(io::Error, Option<Wire>),
}

/// The first byte tells TLS, whose first message is of type 22, from the name of a method; and it is only looked at, because
/// rustls would answer with an alert that no HTTP client can read.
async fn shake(
    stream: Wire,
    generation: &Generation,
    hello: &Hello,
    scratch: &Rc<Scratch>,
) -> Shaken {
    // What fails here fails again in the handshake.
    match stream.first_bytes(&mut [0; FIRST]).await {
        Ok([b'A'..=b'Z', ..]) => return Shaken::Plain(stream),
        Ok(first) => hello.began(first),
        Err(_) => {}
    }
    let config = Arc::clone(&generation.config);
    let mut stream = match Stream::new(stream, config, Rc::clone(scratch)) {
        Ok(stream) => Box::new(stream),
        Err(error) => return Shaken::Failed(io::Error::other(error), None),
    };
    match stream.shake(hello).await {
        Ok(()) => Shaken::Secured(stream),
        Err(error) => Shaken::Failed(error, Some(stream.into_wire())),
    }
}

/// A client of TLS 1.3 is done before it is refused, and goes on talking. Closed at once, the connection would be reset under
/// its words, and the reset would overtake the alert that tells it why.
async fn let_alert_arrive(mut stream: Wire) {
    let reading = async {
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        let mut read = 0;
        while read < REST {
            match stream.read(&mut rest).await? {
                0 => break,
                count => read += count,
            }
        }
        Ok::<_, io::Error>(())
    };
    // Nobody is told what becomes of it.
    let _ = timeout(LINGER, reading).await;
}

/// The sidecar itself looks at what is served, and goes. Nobody is told.
async fn look(stream: Wire, generation: &Generation) {
    let shaking = Box::pin(TlsAcceptor::from(Arc::clone(&generation.config)).accept(stream));
    let _ = timeout(LOOK, shaking).await;
}

fn facts(
    tls: &CommonState,
    sni: Option<&str>,
    generation: Arc<Generation>,
) -> (TlsFacts, Protocol) {
    let protocol = match tls.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let facts = TlsFacts {
        version: if tls.protocol_version() == Some(ProtocolVersion::TLSv1_2) {
            "1.2"
        } else {
            "1.3"
        },
        cipher: tls
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .map(iana),
        sni: sni.map(Box::from),
        alpn: match tls.alpn_protocol() {
            Some(b"h2") => Some("h2"),
            Some(b"http/1.0") => Some("http/1.0"),
            Some(_) => Some("http/1.1"),
            None => None,
        },
        resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        generation,
    };
    (facts, protocol)
}

/// rustls names the suites of TLS 1.3 with a prefix of its own.
fn iana(name: &'static str) -> &'static str {
    match name {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        name => name,
    }
}

const TOO_SLOW: &str = "the handshake did not end within --handshake-timeout";
/// For a refused client to read why, and how many bytes of it are read meanwhile.
const LINGER: Duration = Duration::from_millis(500);
const REST: usize = 64 * 1024;
/// For the sidecar's own look.
const LOOK: Duration = Duration::from_secs(2);
const GAVE_WAY: &str =
    "it gave way to newer ones: as many handshakes as --max-handshakes allows were in progress";
const ALL_BUSY: &str = "as many handshakes as --max-handshakes allows are in progress, and none of them would give way";
const GIVEN_UP: &str = "the sidecar is ending and accepts no more";
