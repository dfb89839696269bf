//! What the sidecar was told, as far as that concerns its surroundings: as it says itself, else as this environment says, which
//! is the same in the same container, but for its flags.

use std::net::SocketAddr;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;

use super::finding::{Finding, State};
use crate::config::{self, Raw, address, duration, grace_period};
use crate::upstream::{OwnPorts, TargetUrl};

/// Values that parsed; what is not told or does not parse is none.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) target: Option<TargetUrl>,
    pub(super) app_health: Option<String>,
    pub(super) grace_period: Option<Duration>,
    pub(super) drain_delay: Option<Duration>,
    pub(super) drain_timeout: Option<Duration>,
    /// None where it is a Unix socket.
    pub(super) admin: Option<SocketAddr>,
    /// The sidecar's listeners.
    pub(super) own: OwnPorts,
}

impl Settings {
    /// `told` is what the sidecar says of its configuration. The command line of this very command wins.
    pub(super) fn read(matches: &ArgMatches, told: Option<&Value>) -> (Self, Vec<Finding>) {
        let (raw, mistakes) = environment(matches);
        let flag = |name: &str| matches.try_get_one::<String>(name).ok()?.cloned();
        let here = |name: &str| raw.get(name).map(config::Given::text);
        let text = |name: &str| {
            let known = || match told.map(|config| option(config, name)) {
                // It is nothing to the sidecar itself, so it may be told here alone.
                Some(None) if name == "grace-period" => here(name),
                Some(told) => told,
                None => here(name),
            };
            flag(name).or_else(known)
        };
        let mut findings: Vec<_> = mistakes
            .into_iter()
            .filter(|_| told.is_none())
            .map(|mistake| State::Problem.of("configuration", mistake))
            .collect();
        let settings = Self::of(text, &mut findings);
        if told.is_none() {
            findings.push(State::Note.of(
                "configuration",
                "the sidecar does not say what it was told; looked at as this environment and this command line say",
            ));
        }
        (settings, findings)
    }

    fn of(text: impl Fn(&str) -> Option<String>, findings: &mut Vec<Finding>) -> Self {
        let mut read = Reader {
            text: &text,
            findings,
        };
        let listeners = ["listen", "redirect", "admin", "probe"];
        let listeners = listeners.map(|name| read.value(name, listener));
        Self {
            target: read.value("target", TargetUrl::parse),
            app_health: text("app-health"),
            grace_period: read.value("grace-period", grace_period),
            drain_delay: read.value("drain-delay", duration),
            drain_timeout: read.value("drain-timeout", duration),
            admin: listeners[2].flatten(),
            own: OwnPorts(listeners.into_iter().flatten().flatten().collect()),
        }
    }
}

/// None for a Unix socket.
fn listener(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.starts_with("unix:") {
        return Ok(None);
    }
    address(text).map(Some)
}

struct Reader<'a> {
    text: &'a dyn Fn(&str) -> Option<String>,
    findings: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    fn value<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = (self.text)(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                let words = format!("--{name}: {error}");
                let found = State::Problem.of("configuration", words);
                self.findings
                    .push(found.fix("portcullis check shows where each value comes from"));
                None
            }
        }
    }
}

/// What `run` would find here.
fn environment(matches: &ArgMatches) -> (Raw, Vec<String>) {
    let given = FLAGS.iter().filter_map(|(name, ..)| {
        let value = matches.try_get_one::<String>(name).ok()??;
        Some(format!("--{name}={value}"))
    });
    let line = ["portcullis".to_owned(), "run".to_owned()];
    let matches = config::command().try_get_matches_from(line.into_iter().chain(given));
    match matches.as_ref().map(ArgMatches::subcommand) {
        Ok(Some((_, matches))) => Raw::read(matches),
        _ => (Raw::default(), Vec::new()),
    }
}

/// The value of an option in the answer of `GET /config`.
fn option(config: &Value, name: &str) -> Option<String> {
    let mut options = config["options"].as_array()?.iter();
    let option = options.find(|option| option["name"] == name)?;
    option["value"].as_str().map(str::to_owned)
}

/// What this command takes of what `run` does: name, value and help.
pub(super) const FLAGS: [(&str, &str, &str); 3] = [
    (
        "target",
        "URL",
        "Look at this application [default: the target in force]",
    ),
    (
        "app-health",
        "PATH",
        "Ask the application for this [default: as the sidecar does, else /]",
    ),
    (
        "grace-period",
        "DURATION",
        "The pod's terminationGracePeriodSeconds [default: as the sidecar was told]",
    ),
];
