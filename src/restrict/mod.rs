//! Giving up what is not needed. Called in `main` between binding and the first thread, because restrictions bind the
//! calling thread and those it starts later. A kernel that cannot is told of, and fatal to nobody.

mod access;
mod files;
mod syscalls;

use std::fmt;
use std::path::Path;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;

use crate::config::Config;

use access::Plan;
pub(crate) use files::{Use, rules};

/// What became of one restriction.
#[derive(Clone, Debug)]
pub struct Restriction {
    /// Its name.
    pub name: &'static str,
    /// Whether it is in force.
    pub state: State,
    /// What it keeps from, or why it is not in force.
    pub detail: String,
}

/// Whether a restriction is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In force.
    On,
    /// As far as this kernel knows it.
    Partial,
    /// A flag turned it off.
    Off,
    /// This kernel does not have it, or refused.
    Unavailable,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Partial => "partial",
            Self::Off => "off",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Restriction {
    fn new(name: &'static str, state: State, detail: impl Into<String>) -> Self {
        Self {
            name,
            state,
            detail: detail.into(),
        }
    }

    /// Where somebody wanted it and it is not wholly there.
    pub fn is_lacking(&self) -> bool {
        matches!(self.state, State::Partial | State::Unavailable)
    }
}

impl fmt::Display for Restriction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            state,
            detail,
        } = self;
        write!(f, "restriction {name} is {}: {detail}", state.word())
    }
}

/// Restricts the calling thread and all that it starts. `ports` are the sidecar's own, at which it looks as a client would; `scratch` is a folder that is taken away at the end, where there is one.
pub fn restrict(config: &Config, ports: &[u16], scratch: Option<&Path>) -> Vec<Restriction> {
    let wanted = config.restrictions;
    let simple = |is_wanted: bool, name, detail: &str, apply: fn() -> rustix::io::Result<()>| {
        if !is_wanted {
            return Restriction::new(name, State::Off, BY_FLAG);
        }
        match apply() {
            Ok(()) => Restriction::new(name, State::On, detail),
            Err(error) => Restriction::new(name, State::Unavailable, error.to_string()),
        }
    };
    vec![
        simple(
            wanted.no_new_privileges,
            "no_new_privileges",
            "no program it could start gains privileges",
            || set_no_new_privs(true),
        ),
        simple(
            wanted.not_dumpable,
            "not_dumpable",
            "no core dump and no ptrace that could carry the private key away",
            || set_dumpable_behavior(DumpableBehavior::NotDumpable),
        ),
        if wanted.landlock {
            Plan::new(config, ports, scratch).apply()
        } else {
            Restriction::new(access::NAME, State::Off, BY_FLAG)
        },
        // Last: what comes before needs system calls that nothing needs later.
        if wanted.seccomp {
            syscalls::deny()
        } else {
            Restriction::new(syscalls::NAME, State::Off, BY_FLAG)
        },
    ]
}

const BY_FLAG: &str = "turned off by a flag";
