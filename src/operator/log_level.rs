//! `portcullis log-level`: what the sidecar says of itself on stderr.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};
use http::Method;
use serde_json::{Value, json};

use super::Trouble;
use super::args::{Errand, with_common};
use super::client::{self, Request};
use super::rows::{Parts, draw, text};
use crate::terminal::Ink;

pub(super) fn command() -> Command {
    let command = Command::new("log-level")
        .about("Show or change how much a running sidecar logs of itself")
        .arg(
            Arg::new("filter")
                .value_name("FILTER")
                .help("error, warn, info, debug, trace, off, or a filter like portcullis=debug; without it the one in force is shown"),
        );
    with_common(command, EXAMPLES)
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    filter: Option<String>,
}

impl Asked {
    pub(super) fn new(matches: &ArgMatches) -> Self {
        Self {
            filter: matches.get_one("filter").cloned(),
        }
    }
}

/// Asks or changes, and writes what is in force then.
pub(super) async fn run(
    errand: Errand<'_>,
    asked: &Asked,
    out: &mut impl Write,
) -> Result<(), Trouble> {
    let request = match &asked.filter {
        Some(filter) => Request::change(Method::PUT, PATH).body(json!({ "filter": filter })),
        None => Request::get(PATH),
    };
    let said = client::ask(errand.plane, &request).await?;
    errand.output.show(out, &said, |colour| {
        draw([("log level", level(&said.value))], colour)
    })
}

/// `debug  drift: configured is info`
fn level(said: &Value) -> Parts {
    let filter = text(&said["filter"]);
    let mut parts = vec![(Ink::Plain, filter.to_owned())];
    let configured = said["configured"].as_str();
    if let Some(configured) = configured.filter(|configured| *configured != filter) {
        let words = format!("  (configured is {configured}, to which a restart returns)");
        parts.push((Ink::Yellow, words));
    }
    parts
}

const PATH: &str = "/log-level";

const EXAMPLES: &str = "\
This is what the sidecar says of itself on stderr; records of requests are not concerned. A change
lasts until the next one or a restart, which returns to --log-level.

Examples:
  portcullis log-level                          The level in force
  portcullis log-level debug                    Say more, until it is changed again or restarted
  portcullis log-level info,portcullis=debug    Say more of the sidecar, not of its libraries";

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    async fn outcome(
        line: &str,
        status: &str,
        body: &str,
    ) -> (Result<(), Trouble>, String, String) {
        let pieces = fake::answer(status, body);
        fake::outcome(line, pieces, async |errand, matches, out| {
            run(errand, &Asked::new(matches), out).await
        })
        .await
    }

    #[tokio::test]
    async fn the_level_is_shown_and_a_change_shows_what_it_was() {
        let info = r#"{"filter":"info","configured":"info"}"#;
        let (ended, text, request) = outcome("log-level --color never", "200 OK", info).await;
        assert_eq!((ended, &*text), (Ok(()), "log level    info\n"));
        assert!(
            request.starts_with("GET /log-level HTTP/1.1\r\n"),
            "{request}"
        );
        let debug = r#"{"filter":"debug","configured":"info"}"#;
        let (ended, text, request) =
            outcome("log-level debug --color never", "200 OK", debug).await;
        assert_eq!(ended, Ok(()));
        assert_eq!(
            text,
            "log level    debug  (configured is info, to which a restart returns)\n"
        );
        assert!(
            request.starts_with("PUT /log-level HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.ends_with("\r\n\r\n{\"filter\":\"debug\"}"),
            "{request}"
        );
        let (_, text, _) = outcome("log-level debug --output json", "200 OK", debug).await;
        assert_eq!(text, format!("{debug}\n"));
    }

    #[tokio::test]
    async fn a_filter_that_is_none_is_refused_by_the_sidecar() {
        let problem = r#"{"detail":"no filter","reason":"malformed"}"#;
        let (ended, text, _) =
            outcome("log-level a=b=c", "422 Unprocessable Entity", problem).await;
        assert_eq!(ended, Err(Trouble::Negative("no filter".to_owned())));
        assert_eq!(text, "");
    }
}
