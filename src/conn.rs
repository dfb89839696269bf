//! The facts of one downstream connection, which every record of it repeats.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use portcullis_certs::Generation;

use crate::census::Presence;
use crate::failure::Reason;
use crate::metrics::Meter;
use crate::phase::Life;
use crate::records::{Inflight, Policy};
use crate::tenure::Tenure;
use crate::trace::Tracer;
use crate::wire::Gauge;

/// What all connections of a worker share and their records need.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// `--service-name`.
    pub service: Arc<str>,
    /// The worker's own counters.
    pub meter: Arc<Meter>,
    /// To tell a cut at the end of the drain from a client that left.
    pub life: Arc<Life>,
    /// What of a request is written.
    pub policy: Arc<Policy>,
    /// The worker's open exchanges.
    pub inflight: Rc<Inflight>,
    /// Where traces are exported.
    pub tracer: Option<Rc<Tracer>>,
}

/// One downstream connection.
#[derive(Debug)]
pub(crate) struct Conn {
    /// What it shares with the others.
    pub site: Site,
    /// The client's address, IPv4 as IPv4 also on a dual-stack listener.
    pub client: SocketAddr,
    /// The same without the port, as text, for records.
    pub client_ip: Box<str>,
    /// Whether it came through a load balancer that has not said who the client is: then nobody's word is taken for it.
    pub is_unnamed: bool,
    /// What TLS agreed on; none on the redirect listener.
    pub tls: Option<TlsFacts>,
    /// Taken by the connection's first record.
    pub handshake: Cell<Option<Duration>>,
    /// Who the client has proven to be.
    pub peer: Option<Box<Peer>>,
    /// How long it may stay.
    pub tenure: Tenure,
    /// What is known of its socket.
    pub wire: Gauge,
    /// Why it was cut, if it was.
    pub cut: Cell<Option<Reason>>,
    /// What it is counted as.
    pub presence: Rc<Presence>,
}

/// A client with a verified certificate.
#[derive(Debug)]
pub(crate) struct Peer {
    /// For records.
    pub name: Box<str>,
    /// `X-Forwarded-Client-Cert`, for the application.
    pub forwarded: Option<HeaderValue>,
}

/// What the handshake agreed on.
#[derive(Debug)]
pub(crate) struct TlsFacts {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite's IANA name.
    pub cipher: Option<&'static str>,
    /// The name the client asked for.
    pub sni: Option<Box<str>>,
    /// What ALPN agreed on: `h2`, `http/1.1`, `http/1.0`, or none where the client offered nothing.
    pub alpn: Option<&'static str>,
    /// Whether a ticket spared the full handshake.
    pub resumed: bool,
    /// The certificate generation presented.
    pub generation: Arc<Generation>,
}

impl TlsFacts {
    /// Whether the host is a name of another of our certificates than the one shown (RFC 9110, section 15.5.20).
    pub(crate) fn is_misdirected<'a>(&self, host: impl FnOnce() -> Option<&'a str>) -> bool {
        // With one certificate there is no other, and no need to look.
        let host = self.generation.has_several().then(host).flatten();
        host.is_some_and(|host| self.generation.is_misdirected(self.sni.as_deref(), host))
    }
}
