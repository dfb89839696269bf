//! PEM to DER. The only file that knows `rustls-pemfile`: the crate is archived (RUSTSEC-2025-0134) but was asked for;
//! it is a thin wrapper over `rustls-pki-types`, and a test below proves that both read the same, so that leaving it
//! is a change to this file alone.

use std::path::Path;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::error::LoadError;

/// All certificates in the file, in order.
pub(crate) fn certificates(
    path: &Path,
    mut pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    rustls_pemfile::certs(&mut pem)
        .collect::<Result<_, _>>()
        .map_err(|error| LoadError::malformed(path, &error))
}

/// All CRLs in the file: PEM, or the one DER that CAs publish.
pub(crate) fn crls(
    path: &Path,
    mut bytes: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, LoadError> {
    let is_der = bytes.first() == Some(&DER_SEQUENCE);
    if is_der {
        return Ok(vec![bytes.to_vec().into()]);
    }
    let found: Vec<_> = rustls_pemfile::crls(&mut bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| LoadError::malformed(path, &error))?;
    if found.is_empty() {
        return Err(LoadError::malformed(
            path,
            &"no CRL in it: neither a PEM block \"BEGIN X509 CRL\" nor DER",
        ));
    }
    Ok(found)
}

/// The first private key in the file. Wiped on drop.
pub(crate) fn private_key(
    path: &Path,
    mut pem: &[u8],
) -> Result<Zeroizing<PrivateKeyDer<'static>>, LoadError> {
    let encrypted = pem
        .windows(ENCRYPTED.len())
        .any(|window| window == ENCRYPTED);
    match rustls_pemfile::private_key(&mut pem) {
        Ok(Some(key)) => Ok(Zeroizing::new(key)),
        _ if encrypted => Err(LoadError::EncryptedKey { path: path.into() }),
        Ok(None) => Err(LoadError::EmptyKey { path: path.into() }),
        Err(error) => Err(LoadError::malformed(path, &error)),
    }
}

/// Stands in both forms: PKCS#8's `BEGIN ENCRYPTED PRIVATE KEY` and OpenSSL's `Proc-Type: 4,ENCRYPTED`.
const ENCRYPTED: &[u8] = b"ENCRYPTED";
/// The first byte of a DER sequence.
const DER_SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn pki_types_reads_the_same_as_pemfile() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let pem = format!("some text before\n{}\n{}", made.cert.pem(), made.cert.pem());
        let key = made.signing_key.serialize_pem();
        let path = Path::new("x");

        let ours = certificates(path, pem.as_bytes()).unwrap();
        let theirs: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(ours, theirs);
        assert_eq!(
            *private_key(path, key.as_bytes()).unwrap(),
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()
        );
    }
}
