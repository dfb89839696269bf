//! `portcullis status`: how the sidecar is, or only whether it is ready.

use std::io::Write;
use std::net::SocketAddr;

use clap::ArgMatches;
use serde_json::Value;
use time::OffsetDateTime;

use super::args::{Output, output};
use super::{Trouble, client, screen, show};

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
            output: output(matches),
        }
    }
}

/// Asks, and writes the answer to `out`.
pub(super) async fn run(
    admin: SocketAddr,
    asked: Asked,
    out: &mut impl Write,
) -> Result<(), Trouble> {
    let answer = client::get(admin, "/status", "application/json").await?;
    let mut body = answer.whole().await?;
    let status: Value = serde_json::from_slice(&body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| {
            Trouble::Unreachable(format!("what answers at {admin} is no admin plane"))
        })?;
    let is_ready = status["ready"] == true;
    match asked.output {
        Output::Json => {
            body.push(b'\n');
            show(out, &body)?;
        }
        Output::Text { colour } if !asked.only_ready => {
            show(
                out,
                &screen::draw(&status, OffsetDateTime::now_utc(), colour),
            )?;
        }
        Output::Text { .. } if is_ready => show(out, b"ready\n")?,
        Output::Text { .. } => {}
    }
    if asked.only_ready && !is_ready {
        return Err(Trouble::Negative(why(&status)));
    }
    Ok(())
}

/// Why it is not ready.
fn why(status: &Value) -> String {
    let pending = status["pending"].as_array().into_iter().flatten();
    let pending: Vec<&str> = pending.filter_map(Value::as_str).collect();
    if pending.is_empty() {
        "not ready".to_owned()
    } else {
        format!("not ready: {}", pending.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::commands;
    use super::super::fake;
    use super::*;

    async fn outcome(line: &str, body: &str) -> (Result<(), Trouble>, String) {
        let [_, status, _] = commands();
        let matches = status.try_get_matches_from(line.split(' ')).unwrap();
        let (admin, _served) = fake::admin(fake::answer("200 OK", body)).await;
        let mut out = Vec::new();
        let ended = run(admin, Asked::new(&matches), &mut out).await;
        (ended, String::from_utf8(out).unwrap())
    }

    const READY: &str =
        r#"{"version":"1","service":"shop","phase":"ready","ready":true,"pending":[]}"#;
    const DRAINING: &str = r#"{"version":"1","service":"shop","phase":"draining","ready":false,"pending":["draining","b"]}"#;

    #[tokio::test]
    async fn readiness_is_the_exit_code_only_where_it_is_asked_for() {
        let negative = Err(Trouble::Negative("not ready: draining, b".to_owned()));
        let json = |body: &str| format!("{body}\n");
        for (line, body, ended, text) in [
            ("status --ready", READY, Ok(()), "ready\n".to_owned()),
            ("status --ready", DRAINING, negative.clone(), String::new()),
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
            assert_eq!(outcome(line, body).await, (ended, text), "{line}");
        }
        let (ended, _) = outcome("status --ready", "{}").await;
        assert_eq!(ended, Err(Trouble::Negative("not ready".to_owned())));
    }

    #[tokio::test]
    async fn an_answer_that_is_no_status_is_no_admin_planes() {
        for body in ["", "<html>", "[]", "\"ready\""] {
            let (ended, text) = outcome("status", body).await;
            assert_eq!((ended.unwrap_err().code(), &*text), (3, ""), "{body}");
        }
    }
}
