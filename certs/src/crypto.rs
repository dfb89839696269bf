//! The one place that names the cryptography provider: aws-lc-rs, for its speed and for X25519MLKEM768.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::{self, CryptoProvider};
use rustls::sign::SigningKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The provider every TLS configuration of ours uses.
///
/// Its default groups offer the post-quantum hybrid X25519MLKEM768. A rustls server follows the client's order of
/// groups, so the hybrid is used by every client that prefers it. Suites and groups are those of Mozilla's *intermediate*
/// profile (and, with TLS 1.3 alone, of *modern*), the cheapest of the equally strong first: a server's order counts.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = crypto::aws_lc_rs::default_provider();
    // The sort is stable: what is not said here stays in rustls' order.
    provider.cipher_suites.sort_by_key(|suite| {
        let name = suite.suite().as_str().unwrap_or_default();
        !name.contains("AES_128_GCM")
    });
    Arc::new(provider)
}

/// A key that can sign. It is borrowed, so that its owner can wipe it.
pub(crate) fn signing_key(key: &PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
    crypto::aws_lc_rs::sign::any_supported_type(key)
}

/// Whether `signature` over `message` was made by the key of `issuer`, by any algorithm that the provider accepts.
pub(crate) fn is_signed_by(
    issuer: &CertificateDer<'_>,
    message: &[u8],
    signature: &[u8],
    provider: &CryptoProvider,
) -> bool {
    let Ok((_, issuer)) = X509Certificate::from_der(issuer) else {
        return false;
    };
    let key = &*issuer.public_key().subject_public_key.data;
    // An algorithm that does not fit the key refuses at once.
    let algorithms = provider.signature_verification_algorithms.all;
    algorithms
        .iter()
        .any(|algorithm| algorithm.verify_signature(key, message, signature).is_ok())
}

/// SHA-256 of some bytes: fingerprints and content comparison.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}
