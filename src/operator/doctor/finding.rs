//! What a look has shown: how it is, a sentence, and the line that fixes it.

use serde::Serialize;

/// How it is, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// Goes well for now.
    Warning,
    /// Does not go well.
    Problem,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: &'static str,
    pub(super) state: State,
    pub(super) finding: String,
    /// What to do about it.
    pub(super) fix: Option<String>,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }

    /// A finding of this state, which needs no fix.
    pub(super) fn of(self, check: &'static str, finding: impl Into<String>) -> Finding {
        Finding {
            check,
            state: self,
            finding: finding.into(),
            fix: None,
        }
    }
}

impl Finding {
    /// The same, with what to do about it.
    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }
}
