//! What a certificate says of itself, for people.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::crypto::{hex, sha256};
use crate::error::LoadError;
use crate::names::{AltName, alt_names, distinguished};

/// The readable facts of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Distinguished name, as RFC 2253 writes it.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// Subject alternative names.
    pub names: Vec<AltName>,
    /// Serial number, lower-case hex with colons.
    pub serial: String,
    /// SHA-256 over the DER, lower-case hex.
    pub sha256: String,
    /// Algorithm and size of the key, as in `RSA 2048`.
    pub key: String,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// Whether the certificate may sign others. As a leaf that is legal but unwise.
    pub is_ca: bool,
    /// An RSA key that is too short.
    pub(crate) is_weak: bool,
}

impl Facts {
    /// Reads the facts of one DER certificate.
    ///
    /// # Errors
    /// [`LoadError::Malformed`] with the name of the file it came from.
    pub(crate) fn read(path: &Path, der: &CertificateDer<'_>) -> Result<Self, LoadError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| LoadError::malformed(path, &error))?;
        if !rest.is_empty() {
            return Err(LoadError::malformed(
                path,
                &"bytes after the end of the certificate",
            ));
        }
        let validity = certificate.validity();
        let (key, is_weak) = key(&certificate);
        Ok(Self {
            subject: distinguished(certificate.subject()),
            issuer: distinguished(certificate.issuer()),
            names: alt_names(&certificate),
            serial: certificate.raw_serial_as_string(),
            sha256: hex(&sha256(&[der])),
            key,
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
            is_ca: certificate.is_ca(),
            is_weak,
        })
    }

    /// Its host names.
    pub fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter_map(|name| match name {
            AltName::Dns(dns) => Some(dns.as_str()),
            _ => None,
        })
    }
}

fn key(certificate: &X509Certificate<'_>) -> (String, bool) {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) => (
            format!("RSA {}", rsa.key_size()),
            rsa.key_size() < LEAST_RSA_BITS,
        ),
        // The coordinate of P-521 is rounded up to whole bytes.
        Ok(PublicKey::EC(point)) => match point.key_size() {
            528 => ("ECDSA P-521".to_owned(), false),
            bits => (format!("ECDSA P-{bits}"), false),
        },
        _ => (
            certificate
                .public_key()
                .algorithm
                .algorithm
                .to_id_string()
                .replace("1.3.101.112", "Ed25519"),
            false,
        ),
    }
}

/// NIST SP 800-57 and the CA/Browser Forum's baseline: 112 bits of strength.
const LEAST_RSA_BITS: usize = 2048;
