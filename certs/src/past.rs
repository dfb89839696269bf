//! The latest attempts to reload a part, for whoever comes later and wants to know how it went. Bounded, and without what
//! was served then: a generation holds its private keys for as long as somebody holds the generation.

use std::collections::VecDeque;
use std::time::SystemTime;

use crate::attempt::{Attempt, Confirmation, Outcome, Trigger};

/// What is kept of one attempt.
#[derive(Clone, Debug)]
pub struct PastAttempt {
    /// When it ended.
    pub at: SystemTime,
    /// What made us look.
    pub trigger: Trigger,
    /// `published`, `unchanged` or `failed`.
    pub result: &'static str,
    /// Why it failed, if it did: a short stable word, and a sentence.
    pub error: Option<(&'static str, String)>,
    /// The generation served after it.
    pub generation: u64,
    /// SHA-256 of what was served before.
    pub old: Option<String>,
    /// The same of what was served after.
    pub new: Option<String>,
    /// What was published with misgivings, in words.
    pub warnings: Vec<String>,
    /// What dialling the own listener showed.
    pub confirmation: Option<Confirmation>,
}

impl PastAttempt {
    /// `number`: the generation that is served after it.
    pub(crate) fn of(attempt: &Attempt, number: u64) -> Self {
        let (generation, error) = match &attempt.outcome {
            // Another part may have been published since.
            Outcome::Published(generation) => (generation.number, None),
            Outcome::Unchanged => (number, None),
            Outcome::Failed(error) => (number, Some((error.reason(), error.to_string()))),
        };
        Self {
            at: attempt.at,
            trigger: attempt.trigger,
            result: attempt.outcome.word(),
            error,
            generation,
            old: attempt.old.clone(),
            new: attempt.new.clone(),
            warnings: attempt.warnings.clone(),
            confirmation: attempt.confirmation.clone(),
        }
    }
}

/// The latest attempts of one part, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past(VecDeque<PastAttempt>);

impl Past {
    pub(crate) fn add(&mut self, attempt: PastAttempt) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(attempt);
    }

    /// Adds what the dial showed.
    pub(crate) fn confirm(&mut self, attempt: &Attempt) {
        if let Some(past) = self.0.iter_mut().rev().find(|past| past.at == attempt.at) {
            past.confirmation.clone_from(&attempt.confirmation);
        }
    }

    pub(crate) fn newest_first(&self) -> Vec<PastAttempt> {
        self.0.iter().rev().cloned().collect()
    }
}

/// Attempts of one part.
const KEPT: usize = 10;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::attempt::History;
    use crate::error::LoadError;

    /// So many seconds after the start.
    fn attempt(second: u64, trigger: Trigger, outcome: Outcome) -> Attempt {
        Attempt {
            part: "tls".into(),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
            trigger,
            old: None,
            new: None,
            refused: None,
            outcome,
            warnings: Vec::new(),
            confirmation: None,
            recovered: false,
            repeated: false,
        }
    }

    fn failed() -> Outcome {
        let error = LoadError::malformed("tls.crt".as_ref(), &"no certificate in it");
        Outcome::Failed(Arc::new(error))
    }

    fn seconds(history: &History) -> Vec<u64> {
        let past = history.past.newest_first();
        let since = |past: &PastAttempt| past.at.duration_since(SystemTime::UNIX_EPOCH);
        past.iter()
            .map(|past| since(past).unwrap().as_secs())
            .collect()
    }

    #[test]
    fn the_latest_ten_are_kept_newest_first() {
        let mut history = History::default();
        for second in 0..25 {
            history.remember(&attempt(second, Trigger::Admin, Outcome::Unchanged), 3);
        }
        assert_eq!(seconds(&history), (15..25).rev().collect::<Vec<_>>());
        assert_eq!(history.past.newest_first()[0].generation, 3);
    }

    #[test]
    fn looks_that_find_what_is_known_push_nothing_out() {
        let mut history = History::default();
        history.remember(&attempt(1, Trigger::Notify, failed()), 1);
        for second in 2..100 {
            let repeated = Attempt {
                repeated: true,
                ..attempt(second, Trigger::Poll, failed())
            };
            history.remember(&repeated, 1);
        }
        let recovered = Attempt {
            recovered: true,
            ..attempt(100, Trigger::Poll, Outcome::Unchanged)
        };
        history.remember(&recovered, 1);
        for second in 101..200 {
            history.remember(&attempt(second, Trigger::Poll, Outcome::Unchanged), 1);
        }
        history.remember(&attempt(200, Trigger::Signal, Outcome::Unchanged), 1);
        assert_eq!(seconds(&history), [200, 100, 1]);
        let first = history.past.newest_first().pop().unwrap();
        assert_eq!((first.result, first.trigger), ("failed", Trigger::Notify));
        let (reason, error) = first.error.unwrap();
        assert!(
            !reason.is_empty() && error.contains("no certificate in it"),
            "{error}"
        );
    }

    #[test]
    fn what_a_client_was_shown_is_added_to_its_attempt() {
        let mut history = History::default();
        for second in 1..4 {
            history.remember(&attempt(second, Trigger::Admin, Outcome::Unchanged), 1);
        }
        let looked = Attempt {
            confirmation: Some(Confirmation::Served),
            ..attempt(2, Trigger::Admin, Outcome::Unchanged)
        };
        history.confirm(&looked);
        let seen: Vec<_> = history.past.newest_first();
        let seen: Vec<_> = seen
            .iter()
            .map(|past| past.confirmation.is_some())
            .collect();
        assert_eq!(seen, [false, true, false]);
    }
}
