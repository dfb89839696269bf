//! A part's bytes, proven.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use time::OffsetDateTime;

use crate::bundle::Bundle;
use crate::error::LoadError;
use crate::facts::Facts;
use crate::pem;
use crate::setup::Setup;
use crate::source::{Part, Snapshot};
use crate::ticket_keys::Seed;
use crate::trust::Trust;

/// What came out of a part: what it is for, and nothing else, is there.
#[derive(Debug, Default)]
pub(crate) struct Proven {
    pub(crate) bundle: Option<Arc<Bundle>>,
    pub(crate) trust: Option<Arc<Trust>>,
    pub(crate) seed: Option<Seed>,
}

impl Proven {
    /// Proves all of a part's files, or none.
    pub(crate) fn from(
        part: &Part,
        snapshot: &Snapshot,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, LoadError> {
        let file = |path| snapshot.file(path);
        let mut proven = Self::default();
        if let Some(pair) = &part.pair {
            let bundle = Bundle::prove(file(&pair.certificate), file(&pair.key), provider)?;
            proven.bundle = Some(Arc::new(bundle));
        }
        if let Some(files) = &part.trust {
            let crl = files.crl.as_deref().map(|crl| snapshot.file(crl));
            let trust = Trust::prove(file(&files.ca), crl, provider)?;
            proven.trust = Some(Arc::new(trust));
        }
        if let Some(seed) = &part.seed {
            proven.seed = Some(Seed::prove(file(seed))?);
        }
        Ok(proven)
    }

    /// What is legal but will surprise somebody, in words.
    pub(crate) fn warnings(&self, now: OffsetDateTime) -> Vec<String> {
        let bundle = self.bundle.iter().flat_map(|bundle| bundle.warnings(now));
        let trust = self.trust.iter().flat_map(|trust| trust.warnings(now));
        bundle.chain(trust).collect()
    }
}

/// The leaf in a part's bytes as far as it can be read, for people who compare it with what is served.
pub(crate) fn leaf_on_disk(part: &Part, snapshot: &Snapshot) -> Option<Facts> {
    let pair = part.pair.as_ref()?;
    let (path, bytes) = snapshot.file(&pair.certificate);
    let chain = pem::certificates(path, bytes).ok()?;
    Facts::read(path, chain.first()?).ok()
}

/// One part looked at without being served, for `check`.
#[derive(Debug)]
pub struct Examined {
    /// The part.
    pub label: String,
    /// What it holds, or why it cannot be used.
    pub found: Result<Found, LoadError>,
}

/// What a part holds.
#[derive(Debug)]
pub struct Found {
    /// The chain, leaf first; empty where the part holds none.
    pub chain: Vec<Facts>,
    /// The client CAs.
    pub trust: Option<Arc<Trust>>,
    /// Whether it is the ticket seed.
    pub is_seed: bool,
    /// What is legal but will surprise somebody, in words.
    pub warnings: Vec<String>,
}

/// Reads and proves everything that a setup names, and serves none of it.
pub fn examine(setup: &Setup, now: OffsetDateTime) -> Vec<Examined> {
    let provider = crate::crypto::provider();
    let look = |part: &Part| {
        let proven = Proven::from(part, &part.read()?, &provider)?;
        let mut warnings = proven.warnings(now);
        warnings.extend(part.open_secret());
        warnings.extend(part.dead_mount());
        Ok(Found {
            chain: proven
                .bundle
                .as_ref()
                .map(|bundle| bundle.chain.clone())
                .unwrap_or_default(),
            is_seed: proven.seed.is_some(),
            trust: proven.trust,
            warnings,
        })
    };
    let parts = setup.parts();
    parts
        .iter()
        .map(|part| Examined {
            label: part.label.clone(),
            found: look(part),
        })
        .collect()
}

impl Setup {
    pub(crate) fn parts(&self) -> Vec<Part> {
        Part::group(
            &self.sources,
            self.trust_files(),
            self.ticket_seed.as_deref(),
        )
    }
}
