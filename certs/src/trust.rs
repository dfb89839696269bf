//! Whom we trust to vouch for clients: the CA bundle and its CRLs, proven.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use time::OffsetDateTime;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::crypto::{hex, is_signed_by, sha256};
use crate::error::LoadError;
use crate::facts::Facts;
use crate::loss::Loss;
use crate::names::distinguished;
use crate::pem;

/// A proven CA bundle with its CRLs.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The CAs, in the order of the file.
    pub authorities: Vec<Facts>,
    /// The CRLs.
    pub crls: Vec<CrlFacts>,
    /// Made once for all generations with this trust: a CRL may be large.
    pub(crate) verifier: Arc<dyn ClientCertVerifier>,
    /// Over the content, whatever the order in the files: the same for every replica.
    fingerprint: [u8; 32],
}

/// The readable facts of one CRL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlFacts {
    /// Who issued it.
    pub issuer: String,
    /// When it was issued.
    pub this_update: OffsetDateTime,
    /// When it should have been replaced; from then on the clients of its CA are refused.
    pub next_update: Option<OffsetDateTime>,
    /// How many certificates it revokes.
    pub revoked: usize,
}

impl Trust {
    /// Proves a bundle: at least one CA, everything parses, each CRL signed by one of the CAs.
    ///
    /// # Errors
    /// One variant of [`LoadError`] per cause.
    pub(crate) fn prove(
        (path, bundle): (&Path, &[u8]),
        crl: Option<(&Path, &[u8])>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, LoadError> {
        let ders = pem::certificates(path, bundle)?;
        if ders.is_empty() {
            return Err(LoadError::EmptyCa { path: path.into() });
        }
        let mut roots = RootCertStore::empty();
        let mut authorities = Vec::new();
        for der in &ders {
            authorities.push(Facts::read(path, der)?);
            roots.add(der.clone()).map_err(|error| LoadError::Refused {
                path: path.into(),
                error,
            })?;
        }
        let (mut crls, mut crl_ders) = (Vec::new(), Vec::new());
        if let Some((path, bytes)) = crl {
            crl_ders = pem::crls(path, bytes)?;
            for der in &crl_ders {
                crls.push(prove_crl(path, der, &ders, provider)?);
            }
        }
        let fingerprint = fingerprint(&ders, &crl_ders);
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
            .with_crls(crl_ders)
            .enforce_revocation_expiration()
            .build()
            .map_err(|error| {
                // The CAs have been taken one by one: what is left is a CRL that this parser refuses.
                let path = crl.map_or(path, |(path, _)| path);
                LoadError::malformed(
                    path,
                    &format_args!("{error}; a CRL must be v2, with a crlNumber"),
                )
            })?;
        Ok(Self {
            authorities,
            crls,
            verifier,
            fingerprint,
        })
    }

    /// Over the DER of all CAs and CRLs.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The fingerprint as text.
    pub fn sha256(&self) -> String {
        hex(&self.fingerprint)
    }

    /// A CRL past its time never takes the place of one that is not.
    pub(crate) fn may_follow(
        &self,
        path: &Path,
        before: Option<&Self>,
        now: OffsetDateTime,
    ) -> Result<(), LoadError> {
        let expired = |crls: &[CrlFacts]| {
            let mut crls = crls.iter();
            crls.find_map(|crl| Some((crl.issuer.clone(), crl.next_update.filter(|at| *at < now)?)))
        };
        let is_good = before.is_some_and(|before| expired(&before.crls).is_none());
        match expired(&self.crls) {
            Some((issuer, next_update)) if is_good => Err(LoadError::CrlExpired {
                path: path.into(),
                issuer,
                next_update,
            }),
            _ => Ok(()),
        }
    }

    /// What is legal but will surprise somebody, in words.
    pub fn warnings(&self, now: OffsetDateTime) -> Vec<String> {
        let mut warnings = Vec::new();
        for ca in &self.authorities {
            if ca.not_after < now {
                warnings.push(format!(
                    "the client CA {} expired at {}; its clients are still let in, remove it if they should not be",
                    ca.subject, ca.not_after
                ));
            }
            if !ca.is_ca {
                warnings.push(format!(
                    "{} in the client CA bundle is not a CA certificate",
                    ca.subject
                ));
            }
            if !self.crls.is_empty() && self.crls.iter().all(|crl| crl.issuer != ca.subject) {
                warnings.push(format!(
                    "there is no CRL of the client CA {}: its clients are refused",
                    ca.subject
                ));
            }
        }
        for crl in &self.crls {
            if let Some(at) = crl.next_update.filter(|at| *at < now) {
                warnings.push(format!(
                    "the CRL of {} should have been replaced by {at}: the clients of that CA are refused",
                    crl.issuer
                ));
            }
        }
        warnings
    }

    /// What changed for the worse against the bundle before, in words.
    pub(crate) fn losses(&self, before: &Self) -> Vec<Loss> {
        let is_gone = |old: &&Facts| self.authorities.iter().all(|new| new.sha256 != old.sha256);
        let gone: Vec<_> = before
            .authorities
            .iter()
            .filter(is_gone)
            .map(|ca| ca.subject.clone())
            .collect();
        let mut losses = Vec::new();
        if !gone.is_empty() {
            let gone = gone.join(" and ");
            losses.push(Loss::lack(format!("no longer trusted for clients: {gone}")));
        }
        for old in &before.crls {
            match self.crls.iter().find(|new| new.issuer == old.issuer) {
                None => losses.push(Loss::lack(format!("the CRL of {} is gone", old.issuer))),
                Some(new) if new.this_update < old.this_update => {
                    losses.push(Loss::change(format!(
                        "the CRL of {} is older than the one before: of {}, not {}",
                        old.issuer, new.this_update, old.this_update
                    )))
                }
                Some(_) => {}
            }
        }
        losses
    }
}

fn prove_crl(
    path: &Path,
    der: &CertificateRevocationListDer<'_>,
    authorities: &[CertificateDer<'_>],
    provider: &CryptoProvider,
) -> Result<CrlFacts, LoadError> {
    let (_, crl) = CertificateRevocationList::from_der(der)
        .map_err(|error| LoadError::malformed(path, &error))?;
    let signed = crl.tbs_cert_list.as_ref();
    let is_issuer = |ca: &&CertificateDer<'_>| {
        X509Certificate::from_der(ca)
            .is_ok_and(|(_, ca)| ca.subject().as_raw() == crl.issuer().as_raw())
    };
    let is_ours = authorities
        .iter()
        .filter(is_issuer)
        .any(|ca| is_signed_by(ca, signed, &crl.signature_value.data, provider));
    let issuer = distinguished(crl.issuer());
    if !is_ours {
        return Err(LoadError::CrlForeign {
            path: path.into(),
            issuer,
        });
    }
    Ok(CrlFacts {
        issuer,
        this_update: crl.last_update().to_datetime(),
        next_update: crl.next_update().map(|at| at.to_datetime()),
        revoked: crl.iter_revoked_certificates().count(),
    })
}

fn fingerprint(
    authorities: &[CertificateDer<'_>],
    crls: &[CertificateRevocationListDer<'_>],
) -> [u8; 32] {
    let mut hashes: Vec<_> = authorities
        .iter()
        .map(|ca| (0, sha256(&[ca])))
        .chain(crls.iter().map(|crl| (1, sha256(&[crl]))))
        .collect();
    hashes.sort_unstable();
    let pieces: Vec<_> = hashes
        .iter()
        .flat_map(|(kind, hash)| [std::slice::from_ref(kind), &hash[..]])
        .collect();
    sha256(&pieces)
}
