//! What the command lines of the client commands have in common.

use std::mem::take;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::client::Said;
use super::plane::Plane;
use super::{Trouble, show};
use crate::terminal::is_colourful;

/// Adds which admin plane is asked and how the answer is shown, here and below, and says what the command is for by example.
pub(super) fn with_common(mut command: Command, examples: &'static str) -> Command {
    for below in command.get_subcommands_mut() {
        let more = below.get_after_help().map(ToString::to_string);
        let more = more.map_or_else(String::new, |more| format!("{more}\n\n"));
        *below = take(below).after_help(format!("{more}{EXIT_CODES}"));
    }
    command
        .args(looks().map(|arg| arg.global(true).display_order(LAST)))
        .args(PLANE.map(|(name, value, help)| {
            valued(name, value, help)
                .help_heading("Admin plane")
                .global(true)
        }))
        .after_help(format!("{examples}\n\n{EXIT_CODES}"))
}

/// How the answer is shown.
fn looks() -> [Arg; 2] {
    let output = valued(
        "output",
        "FORMAT",
        "text, for people, or json, as the admin plane says it [default: text]",
    );
    let colour = valued(
        "color",
        "WHEN",
        "auto (on a terminal, unless NO_COLOR is set), always or never [default: auto]",
    );
    let chosen = |arg: Arg, words: &'static [&'static str]| {
        arg.value_parser(words.to_vec()).hide_possible_values(true)
    };
    [
        chosen(output, &["text", "json"]),
        chosen(colour, &["auto", "always", "never"]),
    ]
}

pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
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

impl Output {
    pub(super) fn asked(matches: &ArgMatches) -> Self {
        let text = |name| matches.get_one::<String>(name).map(String::as_str);
        if text("output") == Some("json") {
            return Self::Json;
        }
        let colour = match text("color") {
            Some("always") => true,
            Some("never") => false,
            _ => is_colourful(),
        };
        Self::Text { colour }
    }

    /// Writes an answer: as it came, or as `draw` makes it for people, in colours or not.
    pub(super) fn show(
        self,
        out: &mut impl std::io::Write,
        said: &Said,
        draw: impl FnOnce(bool) -> Vec<u8>,
    ) -> Result<(), Trouble> {
        match self {
            Self::Text { colour } => show(out, &draw(colour)),
            Self::Json => {
                let mut text = said.text.clone();
                text.push(b'\n');
                show(out, &text)
            }
        }
    }
}

/// What a command has to go on with: whom to ask, and how to show it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand<'a> {
    pub(super) plane: &'a Plane,
    pub(super) output: Output,
}

/// Which admin plane: name, value and help.
const PLANE: [(&str, &str, &str); 6] = [
    (
        "admin",
        "ADDR",
        "Where it is: HOST:PORT or :PORT, http:// or https:// with that, or unix:/PATH [default: 127.0.0.1:9901] [env: PORTCULLIS_ADMIN]",
    ),
    (
        "admin-token-file",
        "FILE",
        "Has the token to show: a bare one, or the sidecar's own lines NAME SCOPE TOKEN, of which the first with scope write is taken [env: PORTCULLIS_ADMIN_TOKEN_FILE]",
    ),
    (
        "admin-ca",
        "FILE",
        "With https: the CA that its certificate must come from, PEM [env: PORTCULLIS_ADMIN_CA]",
    ),
    (
        "admin-server-name",
        "NAME",
        "With https: the name that its certificate must have, where that is not the host in ADDR [env: PORTCULLIS_ADMIN_SERVER_NAME]",
    ),
    (
        "admin-client-cert",
        "FILE",
        "With https: the certificate chain to show, PEM; needs --admin-client-key [env: PORTCULLIS_ADMIN_CLIENT_CERT]",
    ),
    (
        "admin-client-key",
        "FILE",
        "With https: the key of that certificate, PEM [env: PORTCULLIS_ADMIN_CLIENT_KEY]",
    ),
];

/// Behind what is the command's own.
const LAST: usize = 900;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused or negative, 2 usage, 3 admin plane not reachable, 4 timed out.";
