//! Proven parts and a policy to a rustls configuration.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};

use crate::bundle::Bundle;
use crate::crypto::{provider, sha256};
use crate::resolver::CertResolver;
use crate::setup::{MinVersion, Setup};
use crate::ticket_keys::TicketKeys;
use crate::tickets::Tickets;
use crate::trust::Trust;
use crate::verifier::ClientVerifier;

/// What stays the same from one generation to the next: policy, provider, ticket keys.
pub(crate) struct Policy {
    pub(crate) setup: Setup,
    pub(crate) provider: Arc<CryptoProvider>,
    /// One set for all generations, so that a renewed certificate does not cost every client a full handshake.
    pub(crate) tickets: Arc<TicketKeys>,
}

/// What a generation is served with.
pub(crate) struct Made {
    pub(crate) config: ServerConfig,
    pub(crate) resolver: Arc<CertResolver>,
    pub(crate) verifier: Option<Arc<ClientVerifier>>,
    pub(crate) fingerprint: [u8; 32],
    /// It is not known yet who may come in.
    pub(crate) is_closed: bool,
}

impl Policy {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            provider: provider(),
            tickets: Arc::default(),
        }
    }

    /// The configuration that serves these, or one that refuses every handshake as long as something is missing without
    /// which nobody may come in.
    pub(crate) fn make(
        &self,
        certificates: &[Option<Arc<Bundle>>],
        trust: Option<&Arc<Trust>>,
    ) -> Result<Made, String> {
        let words = |error: rustls::Error| error.to_string();
        let versions: &[_] = match self.setup.min {
            MinVersion::Tls12 => &[&TLS12, &TLS13],
            MinVersion::Tls13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)
            .map_err(words)?;
        let (builder, verifier, is_closed) = match (&self.setup.client_auth, trust) {
            (None, _) => (builder.with_no_client_auth(), None, false),
            // Fail closed: nobody comes in before it is known who may.
            (Some(_), None) => (builder.with_no_client_auth(), None, true),
            (Some(auth), Some(trust)) => {
                let verifier = ClientVerifier::new(trust, &auth.allow, auth.is_required);
                let verifier = Arc::new(verifier);
                let builder = builder.with_client_cert_verifier(Arc::clone(&verifier) as _);
                (builder, Some(verifier), false)
            }
        };
        let resolver = Arc::new(if is_closed {
            CertResolver::default()
        } else {
            CertResolver::new(certificates)
        });
        let fingerprint = self.fingerprint(trust);
        let mut config = builder.with_cert_resolver(Arc::clone(&resolver) as _);
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        // Tickets only: the default cache is one mutex that all workers would share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(Tickets::new(&self.tickets, fingerprint, verifier.clone()));
        // All suites are equally strong; scanners take it for a fault all the same when clients choose.
        config.ignore_client_order = true;
        // rustls sends two by default; one is what a client uses, and each costs a seal and bytes on the wire.
        config.send_tls13_tickets = 1;
        Ok(Made {
            config,
            resolver,
            verifier,
            fingerprint,
            is_closed,
        })
    }

    /// Who may come in, as a number: a ticket made under one does not open under another. The same for every replica
    /// with the same policy and the same CAs and CRLs.
    fn fingerprint(&self, trust: Option<&Arc<Trust>>) -> [u8; 32] {
        let Some(auth) = &self.setup.client_auth else {
            return sha256(&[b"nobody is asked"]);
        };
        let mut allow: Vec<_> = auth.allow.iter().map(ToString::to_string).collect();
        allow.sort();
        let allow = allow.join("\n");
        let trust = trust.map_or(&[0; 32], |trust| trust.fingerprint());
        sha256(&[&[u8::from(auth.is_required)], trust, allow.as_bytes()])
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("setup", &self.setup)
            .finish_non_exhaustive()
    }
}

/// In the order of preference. Clients of HTTP/1.0 say so, too.
const ALPN: [&[u8]; 3] = [b"h2", b"http/1.1", b"http/1.0"];
