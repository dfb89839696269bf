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
    /// Whether traces are exported.
    pub(super) is_traced: bool,
    /// None where it is a Unix socket.
    pub(super) admin: Option<SocketAddr>,
    /// The sidecar's listeners.
    pub(super) own: OwnPorts,
}

impl Settings {
    /// `told` is what the sidecar says of its configuration. The command line of this very command wins.
    pub(super) fn read(matches: &ArgMatches, told: Option<&Value>) -> (Self, Vec<Finding>) {
        let (raw, mistakes) = environment(matches);
        // --admin is where this command asks, which need not be where the sidecar listens.
        let flag = |name: &str| {
            let is_mine = FLAGS.iter().any(|(mine, ..)| *mine == name);
            is_mine.then(|| matches.get_one::<String>(name).cloned())?
        };
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
            is_traced: text("trace-exporter").is_some_and(|exporter| exporter != "off"),
            admin: listeners[2].flatten(),
            own: OwnPorts {
                tcp: listeners.into_iter().flatten().flatten().collect(),
                unix: Vec::new(),
            },
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
        Ok(Some((_, matches))) => config::gathered(matches),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(line: &str, told: Option<&Value>) -> (Settings, Vec<State>) {
        let command = super::super::command();
        let matches = command.try_get_matches_from(line.split(' ')).unwrap();
        let (settings, findings) = Settings::read(&matches, told);
        let states = findings.iter().map(|found| found.state);
        (settings, states.collect())
    }

    fn told() -> Value {
        json!({ "options": [
            { "name": "target", "value": "http://localhost:3000", "origin": "flag --target" },
            { "name": "app-health", "value": null, "origin": "not set" },
            { "name": "grace-period", "value": "45", "origin": "environment PORTCULLIS_GRACE_PERIOD" },
            { "name": "drain-delay", "value": "7s", "origin": "flag --drain-delay" },
            { "name": "admin", "value": "unix:/run/portcullis/admin.sock", "origin": "flag --admin" },
            { "name": "listen", "value": "[::]:8443", "origin": "default" },
        ] })
    }

    #[test]
    fn what_the_sidecar_says_of_itself_holds() {
        let (settings, states) = read("doctor", Some(&told()));
        assert_eq!(states, []);
        let target = settings.target.map(|target| target.to_string());
        assert_eq!(target.as_deref(), Some("http://localhost:3000"));
        assert_eq!(settings.app_health, None);
        assert_eq!(settings.grace_period, Some(Duration::from_secs(45)));
        assert_eq!(settings.drain_delay, Some(Duration::from_secs(7)));
        assert_eq!((settings.drain_timeout, settings.admin), (None, None));
        assert_eq!(settings.own.tcp, ["[::]:8443".parse().unwrap()]);
    }

    #[test]
    fn the_command_line_wins() {
        let line = "doctor --target 127.0.0.1:1 --app-health /up --grace-period 1m";
        let (settings, _) = read(line, Some(&told()));
        let target = settings.target.map(|target| target.to_string());
        assert_eq!(target.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(settings.app_health.as_deref(), Some("/up"));
        assert_eq!(settings.grace_period, Some(Duration::from_secs(60)));
    }

    #[test]
    fn what_is_not_told_is_as_run_would_have_it_here() {
        let command = super::super::command();
        let mistaken = command.try_get_matches_from(["doctor", "--grace-period", "soon"]);
        assert!(mistaken.is_err());
        let (settings, states) = read("doctor", None);
        assert_eq!(states, [State::Note]);
        assert_eq!(settings.drain_timeout, Some(Duration::from_secs(20)));
        let target = settings.target.map(|target| target.to_string());
        assert_eq!(target.as_deref(), Some("http://127.0.0.1:8080"));
    }
}
