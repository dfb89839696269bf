//! The command line of `portcullis target`, and the request that it is.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use http::{HeaderValue, Method};
use serde_json::{Map, Value, json};

use super::super::Trouble;
use super::super::args::{switch, valued, with_common};
use super::super::client::Request;

/// The command line.
pub(in super::super) fn command() -> Command {
    let get = Command::new("get").about("Show where requests go (as without a subcommand)");
    let confirm = Command::new("confirm")
        .about("Keep a target that was set with --confirm-within")
        .arg(if_match())
        .after_help("Example: portcullis target confirm");
    let revert = Command::new("revert")
        .about("Go back to the configured target")
        .arg(if_match())
        .after_help("Example: portcullis target revert");
    let command = Command::new("target")
        .about("Show or change where a running sidecar sends requests")
        .subcommands([get, set(), confirm, revert]);
    with_common(command, EXAMPLES)
}

fn set() -> Command {
    Command::new("set")
        .about("Send requests to another application, or refuse to, with the reason")
        .arg(
            Arg::new("url")
                .value_name("URL")
                .required(true)
                .help("The new target, as in --target: http://HOST:PORT, h2c://HOST:PORT or unix:/PATH"),
        )
        .args([
            valued(
                "probe-path",
                "PATH",
                "Ask it for this path before the change, and refuse the change where it does not answer well",
            ),
            valued(
                "probe-status",
                "CODE",
                "The status that it has to answer there [default: 200]",
            )
            .requires("probe-path")
            .value_parser(value_parser!(u16).range(100..=599)),
            switch("no-probe", "Change without connecting to it first")
                .conflicts_with_all(["probe-path", "probe-status"]),
            valued(
                "confirm-within",
                "DURATION",
                "Go back by itself, unless `portcullis target confirm` comes in time; also when requests fail meanwhile",
            )
            .value_parser(duration),
            switch("dry-run", "Check and probe, and change nothing"),
            if_match(),
        ])
        .after_help(SET_EXAMPLES)
}

fn if_match() -> Arg {
    valued(
        "if-match",
        "ETAG",
        "Only if nobody has changed it since: the etag that `portcullis target` showed",
    )
}

/// As it was written, which is as it is sent.
fn duration(text: &str) -> Result<String, String> {
    match crate::config::duration(text)? {
        Duration::ZERO => Err("must be above 0".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(in super::super) struct Asked {
    deed: Deed,
    body: Option<Value>,
    if_match: Option<HeaderValue>,
}

/// What is done to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Show,
    Set,
    Confirm,
    Revert,
}

impl Asked {
    pub(in super::super) fn new(matches: &ArgMatches) -> Result<Self, Trouble> {
        let (deed, change) = match matches.subcommand() {
            Some(("set", matches)) => (Deed::Set, Some(matches)),
            Some(("confirm", matches)) => (Deed::Confirm, Some(matches)),
            Some(("revert", matches)) => (Deed::Revert, Some(matches)),
            _ => (Deed::Show, None),
        };
        let tag = change.and_then(|change| change.get_one::<String>("if-match"));
        Ok(Self {
            deed,
            body: change.filter(|_| deed == Deed::Set).map(body),
            if_match: tag.map(|tag| entity_tag(tag)).transpose()?,
        })
    }

    pub(super) fn deed(&self) -> &Deed {
        &self.deed
    }

    pub(super) fn request(&self) -> Request<'static> {
        let request = match self.deed {
            Deed::Show => Request::get("/target"),
            Deed::Set => Request::change(Method::PUT, "/target"),
            Deed::Confirm => Request::change(Method::POST, "/target/confirm"),
            Deed::Revert => Request::change(Method::DELETE, "/target"),
        };
        let request = request.if_match(self.if_match.clone());
        match &self.body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }
}

/// Only what was asked for, so that an older sidecar understands what it can do.
fn body(set: &ArgMatches) -> Value {
    let text = |name| set.get_one::<String>(name).map(|text| json!(text));
    let on = |name| set.get_flag(name).then_some(Value::Bool(true));
    let status = set.get_one::<u16>("probe-status");
    let no_probe = set.get_flag("no-probe").then_some(Value::Bool(false));
    let known = [
        ("url", text("url")),
        ("probe", no_probe),
        ("probe_path", text("probe-path")),
        ("probe_status", status.map(|status| json!(status))),
        ("confirm_within", text("confirm-within")),
        ("dry_run", on("dry-run")),
    ];
    let known = known
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(Map::from_iter(known))
}

/// A shell takes the quotes off.
fn entity_tag(text: &str) -> Result<HeaderValue, Trouble> {
    let is_whole = text == "*" || text.starts_with('"') || text.starts_with("W/");
    let tag = if is_whole {
        text.to_owned()
    } else {
        format!("\"{text}\"")
    };
    HeaderValue::try_from(tag)
        .map_err(|_| Trouble::Usage(format!("--if-match {text:?} is no etag")))
}

const EXAMPLES: &str = "\
A change is checked and tried before it is made, interrupts no request, and lasts until the next
change or a restart, which returns to --target.

Examples:
  portcullis target                                    Where requests go
  portcullis target set http://127.0.0.1:8081          Send them there, if it takes connections
  portcullis target set http://127.0.0.1:8081 --confirm-within 60s
  portcullis target confirm                            It is good: keep it
  portcullis target revert                             It is not: back to the configured one";

const SET_EXAMPLES: &str = "\
It is refused where no target may be, then connected to (or asked for --probe-path), and only then put in force. With
--confirm-within it is taken back when nobody confirms it in time, or when half of at least five requests within ten
seconds fail because of the application: no answer, or a 5xx.

Examples:
  portcullis target set http://127.0.0.1:8081 --dry-run
  portcullis target set http://127.0.0.1:8081 --probe-path /healthz --probe-status 200
  portcullis target set http://127.0.0.1:8081 --confirm-within 60s";

#[cfg(test)]
mod tests {
    use super::super::super::fake;
    use super::*;

    fn asked(line: &str) -> Asked {
        Asked::new(&fake::matches(line)).unwrap()
    }

    #[test]
    fn only_what_is_asked_for_is_sent() {
        for (line, wanted) in [
            ("target set a:1", json!({"url": "a:1"})),
            (
                "target set a:1 --no-probe --dry-run",
                json!({"url": "a:1", "probe": false, "dry_run": true}),
            ),
            (
                "target set a:1 --probe-path /healthz --probe-status 204 --confirm-within 1m",
                json!({"url": "a:1", "probe_path": "/healthz", "probe_status": 204, "confirm_within": "1m"}),
            ),
        ] {
            assert_eq!(asked(line).body, Some(wanted), "{line}");
        }
        for line in ["target", "target get", "target confirm", "target revert"] {
            assert_eq!(asked(line).body, None, "{line}");
        }
    }

    #[test]
    fn a_tag_is_a_tag_with_and_without_its_quotes() {
        for (text, wanted) in [
            ("7", "\"7\""),
            ("\"7\"", "\"7\""),
            ("W/\"7\"", "W/\"7\""),
            ("*", "*"),
        ] {
            assert_eq!(entity_tag(text).unwrap(), wanted);
        }
        assert_eq!(entity_tag("a\nb").unwrap_err().code(), 2);
    }

    #[test]
    fn what_makes_no_sense_together_is_a_mistake() {
        for line in [
            "target set",
            "target set a:1 --no-probe --probe-path /",
            "target set a:1 --probe-status 200",
            "target set a:1 --probe-path / --probe-status 99",
            "target set a:1 --confirm-within soon",
            "target set a:1 --confirm-within 0",
            "target get a:1",
            "target forget",
        ] {
            let error = command().try_get_matches_from(line.split(' '));
            assert!(error.is_err(), "{line}");
        }
    }
}
