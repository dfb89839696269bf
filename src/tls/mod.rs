//! The handshake: one deadline for all of it, the generation taken once, and failures sorted into words.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use rustls::{
    AlertDescription, HandshakeKind, PeerIncompatible, ProtocolVersion, ServerConnection,
};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::conn::{Conn, TlsFacts};
use crate::failure::Reason;
use crate::listener::{Accepted, Slot};
use crate::metrics::{Counted, HandshakeFacts};
use crate::records::{self, Handshake};
use crate::worker::Worker;

/// A connection after its handshake.
pub(crate) struct Secured {
    /// Boxed: it is moved from stage to stage, and each would keep room for it in the connection's task.
    pub(crate) stream: Box<TlsStream<TcpStream>>,
    pub(crate) conn: Rc<Conn>,
    pub(crate) protocol: Protocol,
    /// Held until the connection is closed.
    pub(crate) slot: Slot,
}

/// What ALPN agreed on. A client that offers nothing speaks HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Shakes hands, or records why not. From here on the connection keeps the generation it was given.
pub(crate) async fn handshake(accepted: Accepted, worker: &Worker) -> Option<Secured> {
    let Accepted {
        stream,
        client,
        at,
        slot,
    } = accepted;
    let site = &worker.site;
    let generation = worker.certificates.current();
    let handshaking = Counted::new(&site.meter.conns.handshaking);
    let deadline = at + worker.config.limits.handshake_timeout;
    // Boxed, so that the room for its state is given back as soon as it is over.
    let shaking = Box::pin(TlsAcceptor::from(generation.config.clone()).accept(stream));
    let shaken = tokio::select! {
        shaken = timeout_at(deadline.into(), shaking) => match shaken {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(sort(&error)),
            Err(_) => Err((Reason::HandshakeTimeout, TOO_SLOW.to_owned())),
        },
        () = worker.given_up() => Err((Reason::DrainCut, GIVEN_UP.to_owned())),
    };
    drop(handshaking);
    let stream = match shaken {
        Ok(stream) => stream,
        Err((reason, detail)) => {
            let number = generation.number;
            let failed = Handshake {
                client,
                service: &site.service,
                accepted: at,
                reason,
                detail: &detail,
                generation: number,
            };
            records::handshake(&site.meter, &failed);
            return None;
        }
    };
    let (tls, protocol) = facts(stream.get_ref().1, generation.number);
    site.meter.handshake(&HandshakeFacts {
        reason: None,
        tls: Some(&tls),
        took: at.elapsed(),
    });
    let conn = Conn {
        site: site.clone(),
        client,
        tls: Some(tls),
        handshake: Cell::new(Some(at.elapsed())),
    };
    Some(Secured {
        stream,
        conn: Rc::new(conn),
        protocol,
        slot,
    })
}

fn facts(tls: &ServerConnection, generation: u64) -> (TlsFacts, Protocol) {
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
        sni: tls.server_name().map(Box::from),
        alpn: match tls.alpn_protocol() {
            Some(b"h2") => Some("h2"),
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

/// What a failed handshake was about, in words.
fn sort(error: &io::Error) -> (Reason, String) {
    let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        return (
            Reason::HandshakeGone,
            format!("the client ended the connection in the handshake ({error})"),
        );
    };
    match tls {
        rustls::Error::InvalidMessage(_) => (
            Reason::NotTls,
            format!("the client did not speak TLS; plain HTTP on the HTTPS port? ({tls})"),
        ),
        rustls::Error::AlertReceived(alert) => (Reason::ClientAlert, alert_in_words(*alert)),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered | PeerIncompatible::Tls13RequiredForQuic,
        ) => (
            Reason::NothingInCommon,
            "the client offered only TLS versions below --tls-min".to_owned(),
        ),
        rustls::Error::PeerIncompatible(why) => (
            Reason::NothingInCommon,
            format!("client and server have nothing in common: {why:?}"),
        ),
        rustls::Error::NoApplicationProtocol => (
            Reason::NothingInCommon,
            "the client offered neither h2 nor http/1.1 (ALPN)".to_owned(),
        ),
        rustls::Error::General(why) if why.contains("no server certificate chain") => (
            Reason::NoCertificate,
            "there is no certificate to present yet".to_owned(),
        ),
        _ => (Reason::HandshakeFailed, tls.to_string()),
    }
}

fn alert_in_words(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::UnknownCA => "the client does not know the CA of our certificate",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "the client refused our certificate"
        }
        AlertDescription::CertificateExpired => "the client finds our certificate expired",
        AlertDescription::ProtocolVersion => "the client refused the TLS version",
        _ => "the client ended the handshake",
    };
    format!("{why} (alert {alert:?})")
}

const TOO_SLOW: &str = "the handshake did not end within --handshake-timeout";
const GIVEN_UP: &str = "the sidecar is ending and accepts no more";
