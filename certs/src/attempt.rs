//! Attempts to reload: what made us look, how it ended, and what is remembered of it.

use std::sync::Arc;
use std::time::SystemTime;

use crate::error::LoadError;
use crate::facts::Facts;
use crate::generation::Generation;
use crate::loss::Settling;
use crate::past::{Past, PastAttempt};

/// What made us look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// `POST /certs/reload`.
    Admin,
    /// The file system told of a change.
    Notify,
    /// The periodic look behind the notifications, or another one after a failure.
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

    /// Somebody asked and wants to be told, however well it is known already.
    pub fn is_asked_for(self) -> bool {
        matches!(self, Self::Admin | Self::Signal)
    }
}

/// How one attempt ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// What is on disk is served from now on.
    Published(Arc<Generation>),
    /// The files are those already served.
    Unchanged,
    /// Nothing changed, and this is why.
    Failed(Arc<LoadError>),
}

impl Outcome {
    /// A short stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Published(_) => "published",
            Self::Unchanged => "unchanged",
            Self::Failed(_) => "failed",
        }
    }
}

/// What dialling the own listener showed after a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The new certificate was shown.
    Served,
    /// Nobody could tell: the dial failed, for this reason. That is no failure of the publication.
    Unverified(String),
    /// Another certificate was shown: its SHA-256.
    Differs(String),
}

impl Confirmation {
    /// A short stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Unverified(_) => "unverified",
            Self::Differs(_) => "differs",
        }
    }
}

/// One attempt to reload one part, whatever came of it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The part: its folder, or its first file.
    pub part: Arc<str>,
    /// When it ended.
    pub at: SystemTime,
    /// What made us look.
    pub trigger: Trigger,
    /// SHA-256 of the leaf served before (of the client CAs, for a part without a certificate).
    pub old: Option<String>,
    /// The same of what is served after.
    pub new: Option<String>,
    /// The same of what was refused, as far as it could be read.
    pub refused: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// What was published with misgivings, in words.
    pub warnings: Vec<String>,
    /// What dialling the own listener showed; none where nothing was published that a dial could show.
    pub confirmation: Option<Confirmation>,
    /// It ended a failure: what is on disk is what was served all along.
    pub recovered: bool,
    /// Failed for the same reason as the attempt before it: known already, not worth a second line.
    pub repeated: bool,
}

impl Attempt {
    /// Whether there is more to it than a look that found what was known already: somebody asked, or something has changed.
    fn is_telling(&self) -> bool {
        let is_news = match &self.outcome {
            Outcome::Published(_) => true,
            Outcome::Unchanged => self.recovered,
            Outcome::Failed(_) => !self.repeated,
        };
        is_news || self.trigger.is_asked_for()
    }
}

/// How often reloads ended which way, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Something new was published.
    pub published: u64,
    /// The files had not changed.
    pub unchanged: u64,
    /// Refused. An attempt that fails just as the one before it is not counted again.
    pub failed: u64,
}

/// What is remembered of one part.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Of the files that are served.
    pub(crate) digest: Option<[u8; 32]>,
    pub(crate) counts: Counts,
    pub(crate) last: Option<Attempt>,
    /// The latest attempts, whatever came of them.
    pub(crate) past: Past,
    pub(crate) last_success: Option<SystemTime>,
    /// Since when what is on disk is not what is served, as far as is known.
    pub(crate) differs_since: Option<SystemTime>,
    /// When something was published last.
    published: Option<SystemTime>,
    /// What that looked like with a client's eyes.
    pub(crate) seen: Option<Confirmation>,
    /// A secret that every user of the system may read, in words.
    pub(crate) open_secret: Option<String>,
    /// Content that may be half of a write.
    pub(crate) settling: Settling,
    /// The leaf on disk at the last look, as far as it could be read.
    pub(crate) on_disk: Option<Facts>,
}

impl History {
    /// `number`: the generation that is served after it.
    pub(crate) fn remember(&mut self, attempt: &Attempt, number: u64) {
        if attempt.is_telling() {
            self.past.add(PastAttempt::of(attempt, number));
        }
        match &attempt.outcome {
            Outcome::Published(_) => {
                self.counts.published += 1;
                self.last_success = Some(attempt.at);
                self.differs_since = None;
                (self.published, self.seen) = (Some(attempt.at), None);
            }
            Outcome::Unchanged => {
                self.counts.unchanged += 1;
                self.last_success = Some(attempt.at);
                self.differs_since = None;
                // A look that found nothing new does not replace the account of the last change, but it does end a
                // failure: what is on disk is what is served.
                if !attempt.recovered {
                    return;
                }
            }
            Outcome::Failed(_) => {
                self.differs_since.get_or_insert(attempt.at);
                if attempt.repeated {
                    return;
                }
                self.counts.failed += 1;
            }
        }
        self.last = Some(attempt.clone());
    }

    /// Adds what the dial showed to the account of the attempt it followed.
    pub(crate) fn confirm(&mut self, attempt: &Attempt) {
        if self.published == Some(attempt.at) {
            self.seen.clone_from(&attempt.confirmation);
        }
        self.past.confirm(attempt);
        if let Some(last) = self.last.as_mut().filter(|last| last.at == attempt.at) {
            last.confirmation.clone_from(&attempt.confirmation);
        }
    }

    /// Why the last attempt failed, if it did.
    pub(crate) fn failure(&self) -> Option<&Arc<LoadError>> {
        match &self.last.as_ref()?.outcome {
            Outcome::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Whether this is the failure that is known already.
    pub(crate) fn fails_as(&self, outcome: &Outcome) -> bool {
        match (outcome, self.failure()) {
            (Outcome::Failed(new), Some(old)) => new.to_string() == old.to_string(),
            _ => false,
        }
    }
}
