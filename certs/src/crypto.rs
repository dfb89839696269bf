//! The one place that names the cryptography provider: aws-lc-rs, for its speed and for X25519MLKEM768.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::{self, CryptoProvider};

/// The provider every TLS configuration of ours uses.
///
/// Its default groups offer the post-quantum hybrid X25519MLKEM768. A rustls server follows the client's order of
/// groups, so the hybrid is used by every client that prefers it.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::aws_lc_rs::default_provider())
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
