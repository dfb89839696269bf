//! A proven bundle and a policy to a rustls configuration.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{self, CryptoProvider};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::bundle::Bundle;
use crate::crypto::provider;

/// The lowest TLS version spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// What stays the same from one generation to the next: versions, ALPN, the ticket keys.
pub struct Policy {
    provider: Arc<CryptoProvider>,
    min: MinVersion,
    /// One ticketer for all generations, so that a renewed certificate does not cost every client a full handshake.
    /// It survives renewals because there is no client authentication whose outcome a ticket could carry on.
    ticketer: Arc<dyn ProducesTickets>,
}

impl Policy {
    /// Makes a policy with fresh random ticket keys, which rotate in the process.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new(min: MinVersion) -> Result<Self, rustls::Error> {
        Ok(Self {
            provider: provider(),
            min,
            ticketer: crypto::aws_lc_rs::Ticketer::new()?,
        })
    }

    pub(crate) fn provider(&self) -> &CryptoProvider {
        &self.provider
    }

    /// The configuration that serves `bundle`, or one that refuses every handshake as long as there is none.
    pub(crate) fn server_config(
        &self,
        bundle: Option<&Bundle>,
    ) -> Result<ServerConfig, rustls::Error> {
        let versions: &[_] = match self.min {
            MinVersion::Tls12 => &[&TLS12, &TLS13],
            MinVersion::Tls13 => &[&TLS13],
        };
        let pair = bundle.map(|bundle| Arc::clone(&bundle.pair));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Presented(pair)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Tickets only: the default cache is one mutex that all workers would share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&self.ticketer);
        // rustls sends two by default; one is what a client uses, and each costs a seal and bytes on the wire.
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("min", &self.min)
            .finish_non_exhaustive()
    }
}

/// Presents one pair to everybody, or nothing: fail closed, never a made-up certificate.
#[derive(Debug)]
struct Presented(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}
