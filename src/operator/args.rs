//! The command lines of the client commands.

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{Trouble, doctor};
use crate::terminal::is_colourful;

/// `logs`, `status` and `doctor`.
pub fn commands() -> [Command; 3] {
    let logs = Command::new("logs")
        .about("Show the latest records of a running sidecar, and follow them")
        .arg(switch("follow", "Go on with what comes; the latest 10 come first").short('f'))
        .arg(
            valued(
                "limit",
                "N",
                "So many of the latest at most [default: 20, or all with --since]",
            )
            .value_parser(value_parser!(u64)),
        )
        .args(
            FILTERS
                .iter()
                .map(|(name, value, help)| valued(name, value, help)),
        )
        .arg(valued("kind", "KIND", "Only this kind").value_parser(KINDS));
    let status = Command::new("status")
        .about("Show how a running sidecar is: readiness, target, certificates, the numbers that matter")
        .arg(switch("ready", "Say only whether it is ready, with exit code 1 when it is not; for exec probes"));
    [logs, status, doctor::command()].map(with_common)
}

fn with_common(command: Command) -> Command {
    command
        .arg(valued(
            "admin",
            "ADDR",
            "The admin plane to ask [default: 127.0.0.1:9901] [env: PORTCULLIS_ADMIN]",
        ))
        .arg(
            valued(
                "output",
                "FORMAT",
                "text, for people, or json, as the admin plane says it [default: text]",
            )
            .value_parser(["text", "json"])
            .hide_possible_values(true),
        )
        .arg(
            valued(
                "color",
                "WHEN",
                "auto (on a terminal, unless NO_COLOR is set), always or never [default: auto]",
            )
            .value_parser(["auto", "always", "never"])
            .hide_possible_values(true),
        )
        .after_help(EXIT_CODES)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::SetTrue)
}

pub(super) fn valued(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// How the answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// For people.
    Text {
        /// In colours.
        colour: bool,
    },
    /// As the admin plane says it.
    Json,
}

pub(super) fn output(matches: &ArgMatches) -> Output {
    let text = |name| matches.get_one::<String>(name).map(String::as_str);
    if text("output") == Some("json") {
        return Output::Json;
    }
    let colour = match text("color") {
        Some("always") => true,
        Some("never") => false,
        _ => is_colourful(),
    };
    Output::Text { colour }
}

/// The admin plane to ask: flag, then environment, then default, as for the sidecar itself.
pub(super) fn admin(matches: &ArgMatches) -> Result<SocketAddr, Trouble> {
    let given = matches.get_one::<String>("admin").cloned();
    let set = || {
        env::var("PORTCULLIS_ADMIN")
            .ok()
            .filter(|text| !text.is_empty())
    };
    match given.or_else(set) {
        Some(text) => address(&text).map_err(Trouble::Usage),
        None => Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9901)),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if text.starts_with("unix:") {
        return Err(format!(
            "--admin {text}: this version does not reach admin planes on unix sockets yet"
        ));
    }
    if text.starts_with("https:") {
        return Err(format!(
            "--admin {text}: the admin plane of this version speaks plain HTTP"
        ));
    }
    let authority = text.strip_prefix("http://").unwrap_or(text);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let port = authority
        .strip_prefix("localhost")
        .unwrap_or(authority)
        .strip_prefix(':');
    let address = match port.map(str::parse) {
        Some(port) => port
            .map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
            .ok(),
        None => authority.parse().ok(),
    };
    let mut address = address.ok_or_else(|| {
        format!(
            "--admin {text:?} is not an address like 127.0.0.1:9901, :9901 or http://127.0.0.1:9901"
        )
    })?;
    // Who listens everywhere listens on the loopback.
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(address)
}

/// The filters that the admin plane judges: name, value and help.
pub(super) const FILTERS: [(&str, &str, &str); 7] = [
    (
        "since",
        "WHEN",
        "Closed since then: 5m, 2026-11-22T10:00:00Z, or the id of a record",
    ),
    (
        "status",
        "STATUS",
        "Only this status: 502, 5xx, or none where none was sent",
    ),
    ("method", "METHOD", "Only this method"),
    ("path", "PATH", "Only paths that begin so"),
    (
        "min-ms",
        "MS",
        "Only what took at least so many milliseconds",
    ),
    (
        "client",
        "CLIENT",
        "Only this client: its address, or the name in its certificate",
    ),
    ("reason", "REASON", "Only what failed for this reason"),
];

const KINDS: [&str; 4] = ["exchange", "handshake", "audit", "notice"];

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused or negative, 2 usage, 3 admin plane not reachable, 4 timed out.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_plane_is_found_in_every_spelling() {
        for (text, wanted) in [
            ("127.0.0.1:9901", "127.0.0.1:9901"),
            (":9901", "127.0.0.1:9901"),
            ("localhost:9901", "127.0.0.1:9901"),
            ("http://127.0.0.1:9901", "127.0.0.1:9901"),
            ("http://localhost:1/", "127.0.0.1:1"),
            ("http://[::1]:9901/", "[::1]:9901"),
            ("0.0.0.0:9901", "127.0.0.1:9901"),
            ("[::]:9901", "[::1]:9901"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), wanted, "{text}");
        }
        for (text, word) in [
            ("", "is not an address"),
            ("9901", "is not an address"),
            ("127.0.0.1", "is not an address"),
            (":99010", "is not an address"),
            ("localhost", "is not an address"),
            ("admin.example:9901", "is not an address"),
            ("http://127.0.0.1:9901/logs", "is not an address"),
            ("https://127.0.0.1:9901", "plain HTTP"),
            ("unix:/run/admin", "unix sockets"),
        ] {
            let error = address(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn the_command_lines_hold_together() {
        commands().into_iter().for_each(Command::debug_assert);
    }
}
