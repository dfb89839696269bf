//! What was written for one option, and where.

use std::fmt;

use super::options::Opt;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// This environment variable.
    Environment(String),
    /// The configuration file, at this line.
    File(String, u64),
    /// The command line.
    Flag(&'static str),
    /// What this command puts up by itself.
    Command(&'static str),
}

/// What was written for one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// One text, or several where an option may be given several times.
    pub texts: Vec<String>,
    /// Where it comes from.
    pub origin: Origin,
}

impl Given {
    pub(super) fn one(text: impl Into<String>, origin: Origin) -> Self {
        Self {
            texts: vec![text.into()],
            origin,
        }
    }

    /// What an option takes out of a text: itself, or the parts between commas where it may be given several times.
    pub(super) fn split(opt: &Opt, text: &str, origin: Origin) -> Self {
        if !opt.commas {
            return Self::one(text, origin);
        }
        let parts = text.split(',').map(str::trim);
        Self {
            texts: parts
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            origin,
        }
    }

    /// As people would write it.
    pub fn text(&self) -> String {
        self.texts.join(", ")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path, line) => write!(f, "{path}:{line}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Command(name) => f.write_str(name),
        }
    }
}
