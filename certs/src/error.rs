//! Why a certificate could not be loaded: one variant per cause, each naming the file and what to try.

use std::io;
use std::path::PathBuf;

/// Why a reload changed nothing. `Display` gives one level; causes are in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file holds no certificate at all.
    #[error("no certificate in {}: it must hold PEM blocks \"BEGIN CERTIFICATE\", leaf first", path.display())]
    EmptyCertificate {
        /// The certificate file.
        path: PathBuf,
    },
    /// The file holds no private key.
    #[error("no private key in {}: it must hold one PEM block \"BEGIN PRIVATE KEY\" (PKCS#8, PKCS#1 or SEC1)", path.display())]
    EmptyKey {
        /// The key file.
        path: PathBuf,
    },
    /// The key is encrypted, and nobody is there to type a passphrase.
    #[error("the private key in {} is encrypted: a sidecar has no one to ask for the passphrase; store it decrypted in the Secret (openssl pkey -in … -out …)", path.display())]
    EncryptedKey {
        /// The key file.
        path: PathBuf,
    },
    /// The PEM armour or the DER inside it is broken.
    #[error("{} does not parse: {detail} (is it half written, or DER instead of PEM?)", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        detail: String,
    },
    /// Key and leaf do not belong together.
    #[error("the key in {} does not match the certificate in {} (is a rotation half done?)", key.display(), certificate.display())]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The file is a folder, a FIFO or a device: reading it could block for ever.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("reading {}: {error}{}", path.display(), hint(error))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The TLS library refused the pair.
    #[error("the certificate in {} cannot be served: {error}", path.display())]
    Refused {
        /// The certificate file.
        path: PathBuf,
        /// What rustls said.
        error: rustls::Error,
    },
    /// The file is larger than any certificate.
    #[error("{} has {size} bytes, more than the {limit} a certificate may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

impl LoadError {
    /// A short stable word for metrics and records.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::EmptyCertificate { .. } => "empty_certificate",
            Self::EmptyKey { .. } => "empty_key",
            Self::EncryptedKey { .. } => "encrypted_key",
            Self::Malformed { .. } => "malformed",
            Self::Mismatch { .. } => "mismatch",
            Self::NotRegular { .. } => "not_regular",
            Self::Read { .. } => "read",
            Self::Refused { .. } => "refused",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            " (is the Secret mounted here, with the keys tls.crt and tls.key?)"
        }
        io::ErrorKind::PermissionDenied => {
            " (may the container's user read it? see fsGroup and defaultMode)"
        }
        _ => "",
    }
}
