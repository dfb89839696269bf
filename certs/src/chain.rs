//! Proving a chain: each certificate issued and signed by the next, no key that can be broken.

use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::crypto::is_signed_by;
use crate::error::LoadError;
use crate::facts::Facts;

/// The facts of a chain, leaf first. A weak key is refused here.
pub(crate) fn facts(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Vec<Facts>, LoadError> {
    let facts = chain
        .iter()
        .map(|der| Facts::read(path, der))
        .collect::<Result<Vec<_>, _>>()?;
    match facts.iter().find(|facts| facts.is_weak) {
        Some(weak) => Err(LoadError::WeakKey {
            path: path.into(),
            subject: weak.subject.clone(),
            kind: weak.key.clone(),
        }),
        None => Ok(facts),
    }
}

/// Proves order and signatures. RFC 8446 lets a server send a chain in any order, but old clients (and RFC 5246) do not.
pub(crate) fn links(
    path: &Path,
    chain: &[CertificateDer<'_>],
    facts: &[Facts],
    provider: &CryptoProvider,
) -> Result<(), LoadError> {
    for (number, (pair, facts)) in chain.windows(2).zip(facts.windows(2)).enumerate() {
        let (one, next) = (parse(path, &pair[0])?, parse(path, &pair[1])?);
        if one.issuer().as_raw() != next.subject().as_raw() {
            return Err(LoadError::ChainOrder {
                path: path.into(),
                number: number + 1,
                subject: facts[0].subject.clone(),
                issuer: facts[0].issuer.clone(),
                next: facts[1].subject.clone(),
            });
        }
        let signed = one.tbs_certificate.as_ref();
        if !is_signed_by(&pair[1], signed, &one.signature_value.data, provider) {
            return Err(LoadError::ChainSignature {
                path: path.into(),
                number: number + 1,
                subject: facts[0].subject.clone(),
            });
        }
    }
    Ok(())
}

/// Something outside its dates.
pub(crate) fn outside_dates(
    path: &Path,
    chain: &[Facts],
    now: OffsetDateTime,
) -> Result<(), LoadError> {
    for facts in chain {
        if facts.not_after < now {
            return Err(LoadError::Expired {
                path: path.into(),
                subject: facts.subject.clone(),
                not_after: facts.not_after,
            });
        }
        if facts.not_before > now {
            return Err(LoadError::NotYetValid {
                path: path.into(),
                subject: facts.subject.clone(),
                not_before: facts.not_before,
            });
        }
    }
    Ok(())
}

fn parse<'a>(path: &Path, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, LoadError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| LoadError::malformed(path, &error))
}
