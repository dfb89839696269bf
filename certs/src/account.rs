//! The account of a part for operators: on disk versus served, and how attempts went.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use time::OffsetDateTime;

use crate::attempt::{Attempt, Confirmation, Counts};
use crate::bundle::Bundle;
use crate::error::LoadError;
use crate::facts::Facts;
use crate::part_state::PartState;
use crate::past::PastAttempt;
use crate::source::Source;
use crate::store::Store;
use crate::trust::Trust;

/// What is known of one part.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its folder, or its first file.
    pub part: Arc<str>,
    /// Where its certificate comes from; none for a part without one.
    pub source: Option<Source>,
    /// The certificate served.
    pub served: Option<Arc<Bundle>>,
    /// Whether the client CAs belong to this part.
    pub trusts: bool,
    /// The client CAs served, where they belong to this part.
    pub trust: Option<Arc<Trust>>,
    /// Whether it is the ticket seed.
    pub is_seed: bool,
    /// The leaf on disk at the last look, as far as it could be read.
    pub on_disk: Option<Facts>,
    /// Since when what is on disk is not what is served.
    pub differs_since: Option<SystemTime>,
    /// The last attempt that was not a mere look at unchanged files.
    pub last_attempt: Option<Attempt>,
    /// The latest attempts that were more than a look at what was known already, newest first.
    pub past: Vec<PastAttempt>,
    /// What the last publication looked like with a client's eyes, whatever was attempted since.
    pub seen: Option<Confirmation>,
    /// When the files on disk were last found to be what is served.
    pub last_success: Option<SystemTime>,
    /// Why the last attempt failed, if it did.
    pub failure: Option<Arc<LoadError>>,
    /// How attempts ended so far.
    pub counts: Counts,
    /// What is legal but will surprise somebody, in words.
    pub warnings: Vec<String>,
    /// Why it can never change on disk, if so.
    pub dead_mount: Option<String>,
    /// Whether the kernel tells of changes; otherwise the files are looked at once a second.
    pub is_watched: bool,
}

impl Store {
    /// What is known of each part, in the order of the configuration.
    pub fn accounts(&self, now: OffsetDateTime) -> Vec<Account> {
        let current = self.current();
        let account = |state: &PartState| {
            let history = state.history().clone();
            let place = state.part.pair.as_ref().map(|pair| pair.place);
            let served = place.and_then(|place| current.certificates[place].clone());
            let trust = current.trust.clone().filter(|_| state.part.trust.is_some());
            let mut warnings: Vec<_> = served
                .iter()
                .flat_map(|bundle| bundle.warnings(now))
                .chain(trust.iter().flat_map(|trust| trust.warnings(now)))
                .collect();
            warnings.extend(history.open_secret.clone());
            warnings.extend(state.dead_mount().map(str::to_owned));
            Account {
                part: Arc::clone(&state.label),
                source: place.map(|place| self.setup().sources[place].clone()),
                trusts: state.part.trust.is_some(),
                is_seed: state.part.seed.is_some(),
                failure: history.failure().cloned(),
                on_disk: history.on_disk,
                differs_since: history.differs_since,
                last_attempt: history.last,
                past: history.past.newest_first(),
                last_success: history.last_success,
                counts: history.counts,
                dead_mount: state.dead_mount().map(str::to_owned),
                is_watched: state.is_watched.load(Ordering::Relaxed),
                seen: history.seen,
                served,
                trust,
                warnings,
            }
        };
        self.parts.iter().map(account).collect()
    }
}
