//! What is worse than before, and the patience with what may be half of a write.
//!
//! A PEM file that is cut between two blocks parses, and is a good bundle by itself. So what lacks something that was
//! there, and was not seen to be put in place whole, must have stood for a while.

use std::time::{Duration, Instant};

/// Something that changed for the worse. No reason to refuse: somebody may have meant it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// For people.
    pub(crate) words: String,
    /// Something is missing that was there: the other half of a write, perhaps.
    pub(crate) may_be_half: bool,
}

impl Loss {
    /// Something is missing.
    pub(crate) fn lack(words: String) -> Self {
        Self {
            words,
            may_be_half: true,
        }
    }

    /// Something is otherwise.
    pub(crate) fn change(words: String) -> Self {
        Self {
            words,
            may_be_half: false,
        }
    }
}

/// Content that is waited for to stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settling(Option<([u8; 32], Instant)>);

impl Settling {
    /// Whether this content has been seen first so long ago that it is meant.
    pub(crate) fn has_stood(&mut self, digest: [u8; 32]) -> bool {
        let since = match self.0 {
            Some((seen, since)) if seen == digest => since,
            _ => Instant::now(),
        };
        self.0 = Some((digest, since));
        since.elapsed() >= LONG_ENOUGH
    }

    /// Something else has come of it: the next time is another matter.
    pub(crate) fn is_over(&mut self) {
        self.0 = None;
    }
}

const LONG_ENOUGH: Duration = Duration::from_secs(1);
