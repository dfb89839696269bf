//! Why a certificate could not be loaded: one variant per cause, each naming the file and what to try.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

/// Why a reload changed nothing. `Display` gives one level; causes are in `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A certificate of the chain was not issued by the one after it.
    #[error("the chain in {} is out of order: certificate {number} ({subject}) says it was issued by {issuer}, but the one after it is {next}; put the leaf first, then each issuer in turn", path.display())]
    ChainOrder {
        /// The certificate file.
        path: PathBuf,
        /// Which one, from 1.
        number: usize,
        /// Its subject.
        subject: String,
        /// Its issuer, as it says.
        issuer: String,
        /// The subject of the one after it.
        next: String,
    },
    /// The names fit, the signature does not: an old intermediate with the same name, or an algorithm nobody accepts.
    #[error("the chain in {} is broken: certificate {number} ({subject}) is not signed by the key of the one after it (an issuer of the same name but another key, or a signature algorithm like SHA-1?)", path.display())]
    ChainSignature {
        /// The certificate file.
        path: PathBuf,
        /// Which one, from 1.
        number: usize,
        /// Its subject.
        subject: String,
    },
    /// The CRL is past its `nextUpdate`, and one that is not is in force.
    #[error("the CRL in {} of {issuer} should have been replaced by {next_update}; with it every client of that CA would be refused", path.display())]
    CrlExpired {
        /// The CRL file.
        path: PathBuf,
        /// Who issued it.
        issuer: String,
        /// Its `nextUpdate`.
        next_update: OffsetDateTime,
    },
    /// The CRL is signed by nobody we know.
    #[error("the CRL in {} says it is from {issuer}, but no CA of the client CA bundle has that name and signed it", path.display())]
    CrlForeign {
        /// The CRL file.
        path: PathBuf,
        /// Who issued it, as it says.
        issuer: String,
    },
    /// The CA bundle holds no certificate: nobody could come in any more.
    #[error("no certificate in {}: with an empty client CA bundle every client would be refused", path.display())]
    EmptyCa {
        /// The CA file.
        path: PathBuf,
    },
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
    /// A certificate of the chain has expired, and the one in force has not.
    #[error("{subject} in {} expired at {not_after}; what is served now is still valid", path.display())]
    Expired {
        /// The certificate file.
        path: PathBuf,
        /// Whose certificate.
        subject: String,
        /// When it expired.
        not_after: OffsetDateTime,
    },
    /// The leaf stands further down in the file.
    #[error("the key in {} belongs to certificate {number} of {}, not to the first: the leaf must come first", key.display(), path.display())]
    LeafNotFirst {
        /// The certificate file.
        path: PathBuf,
        /// The key file.
        key: PathBuf,
        /// Where the leaf stands, from 1.
        number: usize,
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
    /// A certificate of the chain is not valid yet, and the one in force is.
    #[error("{subject} in {} is not valid before {not_before}; what is served now is valid (is this clock slow? it will be looked at again)", path.display())]
    NotYetValid {
        /// The certificate file.
        path: PathBuf,
        /// Whose certificate.
        subject: String,
        /// From when on it is valid.
        not_before: OffsetDateTime,
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
    /// The seed is too short to make keys of.
    #[error("the ticket seed in {} has {length} bytes; it needs at least {least} random ones (openssl rand -base64 48)", path.display())]
    ShortSeed {
        /// The seed file.
        path: PathBuf,
        /// Its bytes, without the line end.
        length: usize,
        /// The least.
        least: usize,
    },
    /// Something is missing that was there, in a file that was not seen to be put in place whole.
    #[error(
        "{label} changed, and {loss}: that may be half of a write; if it stays so it is taken in a second (a rename into place is taken at once)"
    )]
    Unsettled {
        /// The part.
        label: String,
        /// What is missing.
        loss: String,
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
    /// A key that can be broken.
    #[error("the key of {subject} in {} is {kind}: clients refuse RSA below 2048 bits; use ECDSA P-256 or RSA 2048", path.display())]
    WeakKey {
        /// The certificate file.
        path: PathBuf,
        /// Whose key.
        subject: String,
        /// Algorithm and size.
        kind: String,
    },
}

impl LoadError {
    pub(crate) fn malformed(path: &Path, detail: &dyn fmt::Display) -> Self {
        Self::Malformed {
            path: path.into(),
            detail: detail.to_string(),
        }
    }

    /// Nothing wrong yet: it is looked at again.
    pub fn is_unsettled(&self) -> bool {
        matches!(self, Self::Unsettled { .. })
    }

    /// A short stable word for metrics and records.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ChainOrder { .. } => "chain_order",
            Self::ChainSignature { .. } => "chain_signature",
            Self::CrlExpired { .. } => "crl_expired",
            Self::CrlForeign { .. } => "crl_foreign",
            Self::EmptyCa { .. } => "empty_ca",
            Self::EmptyCertificate { .. } => "empty_certificate",
            Self::EmptyKey { .. } => "empty_key",
            Self::EncryptedKey { .. } => "encrypted_key",
            Self::Expired { .. } => "expired",
            Self::LeafNotFirst { .. } => "leaf_not_first",
            Self::Malformed { .. } => "malformed",
            Self::Mismatch { .. } => "mismatch",
            Self::NotRegular { .. } => "not_regular",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Read { .. } => "read",
            Self::Refused { .. } => "refused",
            Self::ShortSeed { .. } => "short_seed",
            Self::TooLarge { .. } => "too_large",
            Self::Unsettled { .. } => "unsettled",
            Self::WeakKey { .. } => "weak_key",
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (is the Secret mounted here, and does it have this key?)",
        io::ErrorKind::PermissionDenied => {
            " (may the container's user read it? see fsGroup and defaultMode; or does it lead out of the folders that were known at the start? see --no-landlock)"
        }
        _ => "",
    }
}
