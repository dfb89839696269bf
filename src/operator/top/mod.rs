//! `portcullis top`: what goes on, as it goes on.

mod controls;
mod counters;
mod errors;
mod feed;
mod figures;
mod help;
#[cfg(test)]
mod known;
mod live;
mod model;
mod once;
mod record;
#[cfg(test)]
mod screens;
mod session;
mod spread;
mod tables;
mod tally;
mod text;
mod view;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::{ArgMatches, Command};

use self::text::Look;
use super::Trouble;
use super::args::{Errand, Output, switch, valued, with_common};

pub(super) fn command() -> Command {
    let command = Command::new("top")
        .about("Watch a running sidecar: rates, latencies, top paths, errors, certificates")
        .arg(
            valued(
                "interval",
                "TIME",
                "Look so often, from 100ms to 1h [default: 1s]",
            )
            .value_parser(interval),
        )
        .arg(switch(
            "once",
            "Print what one interval has shown, as plain text, and end; for scripts, and where there is no terminal",
        ));
    // There is nothing to show to a program that it could not ask for itself.
    with_common(command, EXAMPLES).mut_arg("output", |output| output.hide(true))
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    every: Duration,
    once: bool,
}

impl Asked {
    pub(super) fn new(matches: &ArgMatches) -> Self {
        let every = matches.get_one::<Duration>("interval").copied();
        Self {
            every: every.unwrap_or(USUAL),
            once: matches.get_flag("once"),
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (SHORTEST..=LONGEST).contains(&every) {
        Ok(every)
    } else {
        Err("it is neither shorter than 100ms nor longer than 1h".to_owned())
    }
}

/// Watches, or writes what one interval has shown to `out`.
pub(super) async fn run(
    errand: Errand<'_>,
    asked: &Asked,
    out: &mut impl Write,
) -> Result<(), Trouble> {
    let Output::Text { colour } = errand.output else {
        return Err(Trouble::Usage(NO_JSON.to_owned()));
    };
    if asked.once {
        return once::run(errand.plane, asked.every, out).await;
    }
    let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    if !io::stdout().is_terminal() || is_dumb {
        return Err(Trouble::Usage(NO_TERMINAL.to_owned()));
    }
    // Of colours, what was asked for here decides, and nothing further down.
    ratatui::crossterm::style::force_color_output(colour);
    live::run(errand.plane, asked.every, Look { colour }).await
}

const USUAL: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);
const NO_JSON: &str =
    "top has no JSON; ask for status --output json, logs --output json, or GET /metrics";
const NO_TERMINAL: &str =
    "top needs a terminal that it can draw on; --once prints one screen as plain text";

const EXAMPLES: &str = "\
Examples:
  portcullis top                          On the whole screen, each second; ? there lists the keys
  portcullis top --interval 5s            Calmer
  portcullis top --once                   One screen as plain text, after a second
  kubectl exec -it POD -c portcullis -- portcullis top";

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::super::plane::Plane;
    use super::*;

    #[test]
    fn an_interval_is_neither_too_short_nor_too_long() {
        for (text, is_sound) in [
            ("1s", true),
            ("100ms", true),
            ("1h", true),
            ("99ms", false),
            ("2h", false),
            ("soon", false),
        ] {
            assert_eq!(interval(text).is_ok(), is_sound, "{text}");
        }
        let asked = Asked::new(&fake::matches("top --once --interval 5s"));
        assert!(asked.once);
        assert_eq!(asked.every, Duration::from_secs(5));
    }

    #[tokio::test]
    async fn what_cannot_be_shown_is_a_usage_error_that_says_what_can() {
        for (line, part) in [
            ("top --output json", "status --output json"),
            ("top", "--once"),
        ] {
            let matches = fake::matches(line);
            let plane = &Plane::at(([127, 0, 0, 1], 1).into());
            let output = Output::asked(&matches);
            // Cargo's tests may have a terminal, but none that anybody has named.
            if line == "top" && io::stdout().is_terminal() {
                continue;
            }
            let errand = Errand { plane, output };
            let ended = run(errand, &Asked::new(&matches), &mut Vec::new()).await;
            let trouble = ended.unwrap_err();
            assert_eq!(trouble.code(), 2, "{line}");
            assert!(trouble.to_string().contains(part), "{trouble}");
        }
    }
}
