//! Attempts to reload: what made us look, how it ended, and what is remembered of it.

use std::sync::Arc;
use std::time::SystemTime;

use time::OffsetDateTime;

use crate::error::LoadError;
use crate::store::Generation;

/// What made us look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// `POST /certs/reload`.
    Admin,
    /// The file system told of a change.
    Notify,
    /// The periodic look behind the notifications.
    Poll,
    /// SIGHUP.
    Signal,
    /// The first load.
    Start,
}

impl Trigger {
    /// A short stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Notify => "notify",
            Self::Poll => "poll",
            Self::Signal => "signal",
            Self::Start => "start",
        }
    }
}

/// How one attempt ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A new generation is served.
    Published(Arc<Generation>),
    /// The files are those already served.
    Unchanged,
    /// Nothing changed, and this is why.
    Failed(Arc<LoadError>),
}

/// One attempt to reload, whatever came of it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When it ended.
    pub at: SystemTime,
    /// What made us look.
    pub trigger: Trigger,
    /// SHA-256 of the leaf served before.
    pub old: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Failed for the same reason as the attempt before it: known already, not worth a second line.
    pub repeated: bool,
}

/// How often reloads ended which way, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// A new generation was published.
    pub published: u64,
    /// The files had not changed.
    pub unchanged: u64,
    /// Refused.
    pub failed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    /// Of the files that are served.
    pub(crate) digest: Option<[u8; 32]>,
    pub(crate) counts: Counts,
    pub(crate) last: Option<Attempt>,
    pub(crate) last_success: Option<SystemTime>,
}

impl History {
    pub(crate) fn remember(&mut self, attempt: &Attempt) {
        match &attempt.outcome {
            Outcome::Published(_) => {
                self.counts.published += 1;
                self.last_success = Some(attempt.at);
            }
            Outcome::Unchanged => {
                self.counts.unchanged += 1;
                self.last_success = Some(attempt.at);
                // A look that found nothing new does not replace the account of the last change, but it does end a
                // failure: what is on disk is what is served.
                if !matches!(
                    &self.last,
                    Some(Attempt {
                        outcome: Outcome::Failed(_),
                        ..
                    })
                ) {
                    return;
                }
            }
            Outcome::Failed(_) if attempt.repeated => return,
            Outcome::Failed(_) => self.counts.failed += 1,
        }
        self.last = Some(attempt.clone());
    }

    /// Whether this is the failure that is known already.
    pub(crate) fn fails_as(&self, outcome: &Outcome) -> bool {
        match (outcome, &self.last) {
            (
                Outcome::Failed(new),
                Some(Attempt {
                    outcome: Outcome::Failed(old),
                    ..
                }),
            ) => new.to_string() == old.to_string(),
            _ => false,
        }
    }
}

impl Attempt {
    /// Warnings on what was published, in words; empty for every other outcome.
    pub fn warnings(&self) -> Vec<String> {
        match &self.outcome {
            Outcome::Published(generation) => {
                let bundle = generation.bundle.as_ref();
                bundle
                    .map(|bundle| bundle.warnings(OffsetDateTime::now_utc()))
                    .unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}
