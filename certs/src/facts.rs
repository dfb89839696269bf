//! What a certificate says of itself, for people.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::crypto::sha256;
use crate::error::LoadError;

/// The readable facts of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Distinguished name, RFC 4514 style.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// Subject alternative names as `DNS:…`, `IP:…`, `URI:…`, `email:…`.
    pub names: Vec<String>,
    /// Serial number, lower-case hex with colons.
    pub serial: String,
    /// SHA-256 over the DER, lower-case hex.
    pub sha256: String,
    /// Start of validity.
    pub not_before: OffsetDateTime,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// Whether the certificate may sign others. As a leaf that is legal but unwise.
    pub is_ca: bool,
}

impl Facts {
    /// Reads the facts of one DER certificate.
    ///
    /// # Errors
    /// [`LoadError::Malformed`] with the name of the file it came from.
    pub(crate) fn read(path: &Path, der: &CertificateDer<'_>) -> Result<Self, LoadError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|error| malformed(path, &error))?;
        if !rest.is_empty() {
            return Err(malformed(path, &"bytes after the end of the certificate"));
        }
        let validity = certificate.validity();
        Ok(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names(&certificate),
            serial: certificate.raw_serial_as_string(),
            sha256: hex(&sha256(&[der])),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
            is_ca: certificate.is_ca(),
        })
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    extension.value.general_names.iter().map(name).collect()
}

fn name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(dns) => format!("DNS:{dns}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::RFC822Name(mail) => format!("email:{mail}"),
        GeneralName::IPAddress(bytes) => {
            match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                (Ok(v4), _) => format!("IP:{}", Ipv4Addr::from(v4)),
                (_, Ok(v6)) => format!("IP:{}", Ipv6Addr::from(v6)),
                _ => "IP:?".to_owned(),
            }
        }
        other => format!("{other}"),
    }
}

fn malformed(path: &Path, detail: &dyn std::fmt::Display) -> LoadError {
    LoadError::Malformed {
        path: path.into(),
        detail: detail.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}
