//! PEM bytes to a proven pair. Whatever gets past here can be served; nothing is checked again later.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use crate::error::LoadError;
use crate::facts::Facts;
use crate::pem;
use crate::source::Snapshot;

/// A chain and the key that matches its leaf.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub(crate) pair: Arc<CertifiedKey>,
    /// The facts of the chain's certificates, leaf first.
    pub chain: Vec<Facts>,
}

impl Bundle {
    /// Proves a snapshot: both files parse, the key matches the leaf.
    ///
    /// # Errors
    /// One variant of [`LoadError`] per cause.
    pub fn prove(snapshot: &Snapshot, provider: &CryptoProvider) -> Result<Self, LoadError> {
        let (certificate, pem_chain) = &snapshot.certificate;
        let (key_path, pem_key) = &snapshot.key;
        let chain = pem::certificates(certificate, pem_chain)?;
        let facts = chain
            .iter()
            .map(|der| Facts::read(certificate, der))
            .collect::<Result<Vec<_>, _>>()?;
        let key = pem::private_key(key_path, pem_key)?;
        let pair = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => LoadError::Mismatch {
                certificate: certificate.clone(),
                key: key_path.clone(),
            },
            rustls::Error::General(detail) => LoadError::Malformed {
                path: key_path.clone(),
                detail,
            },
            error => LoadError::Refused {
                path: certificate.clone(),
                error,
            },
        })?;
        Ok(Self {
            pair: Arc::new(pair),
            chain: facts,
        })
    }

    /// The certificate shown to clients first.
    pub fn leaf(&self) -> &Facts {
        &self.chain[0]
    }

    /// What is legal but will surprise somebody, in words.
    pub fn warnings(&self, now: OffsetDateTime) -> Vec<String> {
        let leaf = self.leaf();
        let mut warnings = Vec::new();
        if leaf.not_after < now {
            warnings.push(format!("the certificate expired at {}", leaf.not_after));
        }
        if leaf.not_before > now {
            warnings.push(format!(
                "the certificate is not valid before {}",
                leaf.not_before
            ));
        }
        if leaf.is_ca {
            warnings.push("the leaf is a CA certificate: some clients refuse it".to_owned());
        }
        if leaf.names.is_empty() {
            warnings.push(
                "the leaf has no subject alternative name: clients will refuse it".to_owned(),
            );
        }
        warnings
    }
}
