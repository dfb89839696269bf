//! Who a client is, once its certificate is verified.

use std::path::Path;

use rustls_pki_types::CertificateDer;

use crate::facts::Facts;
use crate::names::AltName;

/// A verified client.
#[derive(Clone, Debug)]
pub struct Identity(Facts);

impl Identity {
    /// Reads it from the leaf that the client has proven to own. None when it does not parse, which the verifier has
    /// refused before.
    pub fn read(leaf: &CertificateDer<'_>) -> Option<Self> {
        Facts::read(Path::new(""), leaf).ok().map(Self)
    }

    /// One name for records: the first URI (SPIFFE identities are URIs), else host name, e-mail or IP address, else the
    /// subject.
    pub fn name(&self) -> String {
        let find = |pick: fn(&AltName) -> Option<String>| self.0.names.iter().find_map(pick);
        find(|name| match name {
            AltName::Uri(uri) if !uri.is_empty() => Some(uri.clone()),
            _ => None,
        })
        .or_else(|| {
            find(|name| match name {
                AltName::Dns(text) | AltName::Email(text) if !text.is_empty() => Some(text.clone()),
                AltName::Ip(ip) => Some(ip.to_string()),
                _ => None,
            })
        })
        .unwrap_or_else(|| self.0.subject.clone())
    }

    /// The subject, as RFC 2253 writes it.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// SHA-256 over the leaf's DER, lower-case hex.
    pub fn sha256(&self) -> &str {
        &self.0.sha256
    }

    /// All its names.
    pub fn names(&self) -> &[AltName] {
        &self.0.names
    }
}
