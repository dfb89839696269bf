//! What the room is told once: where things are, and the policy by which they are used.

use std::path::{Path, PathBuf};

use crate::san::SanPattern;
use crate::source::Source;

/// The lowest TLS version spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3: Mozilla's *intermediate* profile.
    #[default]
    Tls12,
    /// TLS 1.3 only: Mozilla's *modern* profile.
    Tls13,
}

/// Asking clients for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuth {
    /// Whether the handshake fails without one. A certificate that is shown and refused fails it in any case.
    pub is_required: bool,
    /// The CA bundle.
    pub ca: PathBuf,
    /// The CRLs, PEM or DER.
    pub crl: Option<PathBuf>,
    /// Names of which a client must have one; empty allows all.
    pub allow: Vec<SanPattern>,
}

/// Everything the room needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The certificates; the first is shown to clients that ask for no name, or for an unknown one.
    pub sources: Vec<Source>,
    /// The lowest TLS version.
    pub min: MinVersion,
    /// None: clients are not asked.
    pub client_auth: Option<ClientAuth>,
    /// A file that replicas share, to resume each other's sessions.
    pub ticket_seed: Option<PathBuf>,
}

impl Setup {
    /// Every file that is read, again and again.
    pub fn files(&self) -> Vec<PathBuf> {
        let pairs = self.sources.iter().map(Source::files);
        let mut files: Vec<_> = pairs
            .flat_map(|(certificate, key)| [certificate, key])
            .collect();
        let trust = self.trust_files();
        files.extend(trust.map(|(ca, _)| ca.to_owned()));
        files.extend(trust.and_then(|(_, crl)| crl).map(Path::to_owned));
        files.extend(self.ticket_seed.clone());
        files
    }

    pub(crate) fn trust_files(&self) -> Option<(&Path, Option<&Path>)> {
        self.client_auth
            .as_ref()
            .map(|auth| (auth.ca.as_path(), auth.crl.as_deref()))
    }
}
