//! What is served: one proven set of certificates, client CAs, CRLs and policy.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;

use crate::bundle::Bundle;
use crate::resolver::CertResolver;
use crate::server_config::{Made, Policy};
use crate::trust::Trust;
use crate::verifier::{ClientVerifier, Refusal};

/// One proven set. Number 0 is the one before the first certificate: it refuses every handshake.
pub struct Generation {
    /// Counts up from 1 with each published change.
    pub number: u64,
    /// What a connection handshakes with. Taken once, at accept.
    pub config: Arc<ServerConfig>,
    /// The certificates in the order of the configuration; none where one was never good.
    pub certificates: Vec<Option<Arc<Bundle>>>,
    /// Who vouches for clients; none where they are not asked, or not known yet.
    pub trust: Option<Arc<Trust>>,
    /// When it was published.
    pub since: SystemTime,
    /// Who may come in, as a number.
    policy: [u8; 32],
    resolver: Arc<CertResolver>,
    verifier: Option<Arc<ClientVerifier>>,
    is_closed: bool,
}

impl Generation {
    pub(crate) fn new(
        number: u64,
        certificates: Vec<Option<Arc<Bundle>>>,
        trust: Option<Arc<Trust>>,
        policy: &Policy,
    ) -> Result<Self, String> {
        let Made {
            config,
            resolver,
            verifier,
            fingerprint,
            is_closed,
        } = policy.make(&certificates, trust.as_ref())?;
        Ok(Self {
            number,
            config: Arc::new(config),
            certificates,
            trust,
            since: SystemTime::now(),
            policy: fingerprint,
            resolver,
            verifier,
            is_closed,
        })
    }

    /// Whether there is a certificate at all.
    pub fn has_certificate(&self) -> bool {
        self.certificates.iter().any(Option::is_some)
    }

    /// Whether everything is there that is configured.
    pub fn is_complete(&self) -> bool {
        !self.is_closed && self.certificates.iter().all(Option::is_some)
    }

    /// Whether it is not known yet whom to let in: clients must be asked, and there is no client CA.
    pub fn lacks_trust(&self) -> bool {
        self.is_closed
    }

    /// The certificate that a client is shown who asks for `sni`; of several for the same name, the first.
    pub fn shown(&self, sni: Option<&str>) -> Option<&Bundle> {
        let first = self.resolver.candidates(sni).first()?;
        self.certificates.get(*first)?.as_deref()
    }

    /// Judges a client's chain as of now, leaf first. An empty one is fine here: whether a client may come without is
    /// decided in the handshake.
    ///
    /// # Errors
    /// The refusal in words.
    pub fn verify_client(&self, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        self.verifier
            .as_ref()
            .map_or(Ok(()), |verifier| verifier.verify_client(chain))
    }

    /// Whether clients are judged by the same CAs, CRLs and names as in another generation.
    pub fn verifies_like(&self, other: &Self) -> bool {
        self.policy == other.policy
    }

    /// Whether `host` is a name of one of the certificates, but of none that a client who asked for `sni` is shown: 421
    /// (RFC 9110, section 15.5.20). What no certificate names is nobody else's.
    pub fn is_misdirected(&self, sni: Option<&str>, host: &str) -> bool {
        self.resolver.is_misdirected(sni, host)
    }

    /// Whether more than one certificate is configured: else none is another's.
    pub fn has_several(&self) -> bool {
        self.certificates.len() > 1
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
