//! PEM bytes to a proven pair. Whatever gets past here can be served; nothing is checked again later.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::chain;
use crate::crypto::signing_key;
use crate::error::LoadError;
use crate::facts::Facts;
use crate::loss::Loss;
use crate::pem;

/// A chain and the key that matches its leaf.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub(crate) pair: Arc<CertifiedKey>,
    /// The facts of the chain's certificates, leaf first.
    pub chain: Vec<Facts>,
    path: PathBuf,
}

impl Bundle {
    /// Proves a pair: both files parse, the chain is in order and signed, no key is weak, the key matches the leaf.
    ///
    /// # Errors
    /// One variant of [`LoadError`] per cause.
    pub(crate) fn prove(
        (path, certificate): (&Path, &[u8]),
        (key_path, key): (&Path, &[u8]),
        provider: &CryptoProvider,
    ) -> Result<Self, LoadError> {
        let certificates = pem::certificates(path, certificate)?;
        if certificates.is_empty() {
            return Err(LoadError::EmptyCertificate { path: path.into() });
        }
        let chain = chain::facts(path, &certificates)?;
        let key = signing_key(&*pem::private_key(key_path, key)?)
            .map_err(|error| LoadError::malformed(key_path, &error))?;
        let pair = CertifiedKey::new(certificates, key);
        if let Err(error) = pair.keys_match() {
            return Err(mismatch(error, &pair, path, key_path));
        }
        chain::links(path, &pair.cert, &chain, provider)?;
        Ok(Self {
            chain,
            pair: Arc::new(pair),
            path: path.into(),
        })
    }

    /// The certificate shown to clients first.
    pub fn leaf(&self) -> &Facts {
        // `prove` refuses an empty chain.
        &self.chain[0]
    }

    /// A certificate outside its dates never takes the place of one inside.
    pub(crate) fn may_follow(
        &self,
        before: Option<&Self>,
        now: OffsetDateTime,
    ) -> Result<(), LoadError> {
        let is_good = before
            .is_some_and(|before| chain::outside_dates(&before.path, &before.chain, now).is_ok());
        if is_good {
            chain::outside_dates(&self.path, &self.chain, now)?;
        }
        Ok(())
    }

    /// What is legal but will surprise somebody, in words.
    pub fn warnings(&self, now: OffsetDateTime) -> Vec<String> {
        let leaf = self.leaf();
        let mut warnings = Vec::new();
        for (number, facts) in self.chain.iter().enumerate() {
            let whose = if number == 0 {
                "the certificate".to_owned()
            } else {
                format!("the intermediate {}", facts.subject)
            };
            if facts.not_after < now {
                warnings.push(format!("{whose} expired at {}", facts.not_after));
            }
            if facts.not_before > now {
                warnings.push(format!("{whose} is not valid before {}", facts.not_before));
            }
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

    /// What changed for the worse against the certificate before, in words.
    pub(crate) fn losses(&self, before: &Self) -> Vec<Loss> {
        let (old, new) = (before.leaf(), self.leaf());
        let lost: Vec<_> = old
            .names
            .iter()
            .filter(|name| !new.names.contains(name))
            .map(ToString::to_string)
            .collect();
        let mut losses = Vec::new();
        if self.chain.len() < before.chain.len() {
            losses.push(Loss::lack(format!(
                "the chain has {} certificates, the old one had {}: are intermediates missing?",
                self.chain.len(),
                before.chain.len()
            )));
        }
        if !lost.is_empty() {
            losses.push(Loss::lack(format!(
                "the new certificate no longer has the names {}",
                lost.join(", ")
            )));
        }
        if old.issuer != new.issuer {
            losses.push(Loss::change(format!(
                "the issuer changed from {} to {}",
                old.issuer, new.issuer
            )));
        }
        if new.not_after < old.not_after {
            losses.push(Loss::change(format!(
                "the new certificate ends at {}, before the old one ({})",
                new.not_after, old.not_after
            )));
        }
        losses
    }
}

/// Where the key's certificate is, if it is not the first.
fn mismatch(error: rustls::Error, pair: &CertifiedKey, path: &Path, key: &Path) -> LoadError {
    if !matches!(error, rustls::Error::InconsistentKeys(_)) {
        return LoadError::Refused {
            path: path.into(),
            error,
        };
    }
    let belongs = |der: &CertificateDer<'static>| {
        CertifiedKey::new(vec![der.clone()], Arc::clone(&pair.key))
            .keys_match()
            .is_ok()
    };
    match pair.cert.iter().position(belongs) {
        Some(at) => LoadError::LeafNotFirst {
            path: path.into(),
            key: key.into(),
            number: at + 1,
        },
        None => LoadError::Mismatch {
            certificate: path.into(),
            key: key.into(),
        },
    }
}
