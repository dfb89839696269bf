//! `portcullis status`: how the sidecar is, or only whether it is ready.

use std::io::Write;

use clap::{ArgMatches, Command};
use serde_json::Value;
use time::OffsetDateTime;

use super::args::{Output, switch, with_common};
use super::client::{self, Request};
use super::plane::Plane;
use super::rows::texts;
use super::{Trouble, screen, show};

pub(super) fn command() -> Command {
    let command = Command::new("status")
        .about("Show how a running sidecar is: readiness, target, certificates, numbers")
        .arg(switch(
            "ready",
            "Say only whether it is ready, with exit code 1 when it is not; for exec probes, and without a token",
        ));
    with_common(command, EXAMPLES)
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    only_ready: bool,
    output: Output,
}

impl Asked {
    pub(super) fn new(matches: &ArgMatches) -> Self {
        Self {
            only_ready: matches.get_flag("ready"),
            output: Output::asked(matches),
        }
    }

    /// Whether everybody may ask this, as probes do.
    pub(super) fn needs_no_token(self) -> bool {
        self.only_ready && self.output != Output::Json
    }
}

/// Asks, and writes the answer to `out`.
pub(super) async fn run(plane: &Plane, asked: Asked, out: &mut impl Write) -> Result<(), Trouble> {
    if asked.needs_no_token() {
        // Refused with the reason, where it is not.
        client::ask(plane, &Request::get("/readyz")).await?;
        return show(out, b"ready\n");
    }
    let said = client::ask(plane, &Request::get("/status")).await?;
    let draw = |colour| screen::draw(&said.value, OffsetDateTime::now_utc(), colour);
    asked.output.show(out, &said, draw)?;
    if asked.only_ready && said.value["ready"] != true {
        return Err(Trouble::Negative(why(&said.value)));
    }
    Ok(())
}

/// Why it is not ready.
fn why(status: &Value) -> String {
    let pending: Vec<&str> = texts(&status["pending"]).collect();
    if pending.is_empty() {
        "not ready".to_owned()
    } else {
        format!("not ready: {}", pending.join("; "))
    }
}

const EXAMPLES: &str = "\
Examples:
  portcullis status                              All on one screen
  portcullis status --ready                      For an exec probe: exit code 0 or 1
  portcullis status --output json | jq .counts   For programs
  kubectl exec POD -c portcullis -- portcullis status";

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
        let (ended, text, request) = fake::outcome(line, pieces, async |errand, matches, out| {
            run(errand.plane, Asked::new(matches), out).await
        })
        .await;
        let path = request.split(' ').nth(1).unwrap().to_owned();
        (ended, text, path)
    }

    const READY: &str =
        r#"{"version":"1","service":"shop","phase":"ready","ready":true,"pending":[]}"#;
    const DRAINING: &str = r#"{"version":"1","service":"shop","phase":"draining","ready":false,"pending":["draining","b"]}"#;

    #[tokio::test]
    async fn readiness_is_the_exit_code_only_where_it_is_asked_for() {
        let negative = Err(Trouble::Negative("not ready: draining; b".to_owned()));
        let json = |body: &str| format!("{body}\n");
        for (line, body, ended, text) in [
            (
                "status --ready --output json",
                DRAINING,
                negative,
                json(DRAINING),
            ),
            ("status --output json", DRAINING, Ok(()), json(DRAINING)),
            (
                "status --color never",
                READY,
                Ok(()),
                "portcullis   1, shop: ready\n".to_owned(),
            ),
        ] {
            let wanted = (ended, text, "/status".to_owned());
            assert_eq!(outcome(line, "200 OK", body).await, wanted, "{line}");
        }
        let (ended, ..) = outcome("status --ready --output json", "200 OK", "{}").await;
        assert_eq!(ended, Err(Trouble::Negative("not ready".to_owned())));
    }

    #[tokio::test]
    async fn a_probe_asks_what_needs_no_token() {
        let ready = outcome("status --ready", "200 OK", r#"{"status":"ready"}"#).await;
        assert_eq!(ready, (Ok(()), "ready\n".to_owned(), "/readyz".to_owned()));
        let problem = r#"{"title":"T","detail":"not ready: draining","reason":"not_ready"}"#;
        let pending = outcome("status --ready", "503 Service Unavailable", problem).await;
        let negative = Err(Trouble::Negative("not ready: draining".to_owned()));
        assert_eq!(pending, (negative, String::new(), "/readyz".to_owned()));
        assert!(Asked::new(&fake::matches("status --ready")).needs_no_token());
        for line in ["status", "status --ready --output json"] {
            assert!(!Asked::new(&fake::matches(line)).needs_no_token(), "{line}");
        }
    }
}
