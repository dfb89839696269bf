//! Why a command was not done, and the exit code that says so.

use std::fmt;

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trouble {
    /// Nobody reads our output any more, which is what `| head` is for.
    Unread,
    /// The sidecar refused, or the answer is no.
    Negative(String),
    /// The command line asks for what there is not.
    Usage(String),
    /// Nothing that is an admin plane answers.
    Unreachable(String),
    /// The answer broke off.
    Broken(String),
    /// It took too long.
    TimedOut(String),
}

impl Trouble {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Unread => 0,
            Self::Negative(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) | Self::Broken(_) => 3,
            Self::TimedOut(_) => 4,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => f.write_str("nobody reads the output"),
            Self::Negative(words)
            | Self::Usage(words)
            | Self::Unreachable(words)
            | Self::Broken(words)
            | Self::TimedOut(words) => f.write_str(words),
        }
    }
}
