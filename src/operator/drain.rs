//! `portcullis drain`: the sidecar finishes what it has and takes no more; its process stays until it is told to end.

use std::io::Write;
use std::time::Duration;

use clap::{ArgMatches, Command};
use http::Method;
use tokio::time::{Instant, sleep, timeout_at};

use super::args::{Errand, Output, switch, valued, with_common};
use super::client::{self, Request, Said};
use super::plane::Plane;
use super::rows::{draw, one, text};
use super::{Trouble, show, tell};
use crate::terminal::Ink;

pub(super) fn command() -> Command {
    let command = Command::new("drain")
        .about("Make a running sidecar finish what it has and take no more")
        .arg(switch("wait", "Return when it is drained"))
        .arg(
            valued(
                "timeout",
                "DURATION",
                "With --wait: give up after so long, with exit code 4; it goes on draining [default: 60s]",
            )
            .requires("wait")
            .value_parser(crate::config::duration),
        );
    with_common(command, EXAMPLES)
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// For how long to wait, if at all.
    wait: Option<Duration>,
}

impl Asked {
    pub(super) fn new(matches: &ArgMatches) -> Self {
        let limit = matches.get_one("timeout").copied();
        Self {
            wait: matches
                .get_flag("wait")
                .then_some(limit.unwrap_or(PATIENCE)),
        }
    }
}

/// Asks for it, and waits for it where that is wanted.
pub(super) async fn run(
    errand: Errand<'_>,
    asked: Asked,
    out: &mut impl Write,
) -> Result<(), Trouble> {
    let began = Instant::now();
    // As a preStop hook it takes its time from the pod's end.
    let request = Request::change(Method::POST, "/drain").soon();
    let asking = client::ask(errand.plane, &request);
    let said = match asked.wait {
        None => asking.await?,
        Some(limit) => timeout_at(began + limit, asking)
            .await
            .map_err(|_| silent(errand.plane, limit))??,
    };
    let Some(limit) = asked.wait else {
        return errand
            .output
            .show(out, &said, |colour| begun(&said, colour));
    };
    if let Output::Text { colour } = errand.output {
        show(out, &begun(&said, colour))?;
    }
    let end = match stopped(errand, began + limit).await? {
        End::Drained(0) => "drained",
        End::Drained(cut) => return Err(was_cut(cut)),
        End::Gone => {
            tell(
                "the sidecar has ended, and said no more; whether all was finished stands in its log",
            );
            "drained, and ended"
        }
    };
    match errand.output {
        Output::Text { colour } => show(out, &draw([("portcullis", one(Ink::Green, end))], colour)),
        Output::Json => show(out, b"{\"phase\":\"stopped\"}\n"),
    }
}

fn silent(plane: &Plane, limit: Duration) -> Trouble {
    let (address, limit) = (&plane.address, humantime::format_duration(limit));
    Trouble::TimedOut(format!(
        "{address} said nothing for {limit}; it may drain, or not"
    ))
}

fn begun(said: &Said, colour: bool) -> Vec<u8> {
    let phase = text(&said.value["phase"]);
    draw([("portcullis", one(Ink::Yellow, phase))], colour)
}

enum End {
    /// It says so, and how many connections it cut.
    Drained(u64),
    /// It is not there any more.
    Gone,
}

/// Asks until it is drained. It was seen to begin, so that one whom nobody answers for any more has done it; but an answer that
/// broke off says nothing, and is asked for again.
async fn stopped(errand: Errand<'_>, end: Instant) -> Result<End, Trouble> {
    let mut in_flight = None;
    let mut unanswered = 0;
    let request = Request::get("/status");
    loop {
        match timeout_at(end, client::ask(errand.plane, &request)).await {
            Ok(Ok(said)) if said.value["phase"] == "stopped" => {
                return Ok(End::Drained(said.value["cut"].as_u64().unwrap_or_default()));
            }
            Ok(Ok(said)) => {
                in_flight = said.value["counts"]["in_flight"].as_u64();
                unanswered = 0;
            }
            Ok(Err(Trouble::Unreachable(_))) if unanswered + 1 == OFTEN => return Ok(End::Gone),
            Ok(Err(Trouble::Unreachable(_))) => unanswered += 1,
            // It may be busy, with its end or with others.
            Ok(Err(Trouble::TimedOut(_) | Trouble::Broken(_))) => {}
            Ok(Err(trouble)) => return Err(trouble),
            Err(_) => return Err(late(in_flight)),
        }
        if timeout_at(end, sleep(PAUSE)).await.is_err() {
            return Err(late(in_flight));
        }
    }
}

fn was_cut(cut: u64) -> Trouble {
    let connections = if cut == 1 {
        "1 connection was".to_owned()
    } else {
        format!("{cut} connections were")
    };
    Trouble::Negative(format!(
        "drained, but {connections} cut: --drain-timeout was over"
    ))
}

fn late(in_flight: Option<u64>) -> Trouble {
    let left = match in_flight {
        Some(1) => ": 1 request is in flight".to_owned(),
        Some(count) => format!(": {count} requests are in flight"),
        None => String::new(),
    };
    Trouble::TimedOut(format!(
        "still draining{left}; it goes on; GET /inflight of the admin plane says what it waits for"
    ))
}

/// More than the usual --drain-delay and --drain-timeout together.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who is not reached so often in a row is not there any more.
const OFTEN: u32 = 3;
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
It is not ready from now on; its process, its metrics and its admin plane stay until SIGTERM.
There is no way back but a restart.

Examples:
  portcullis drain                       Begin, and return
  portcullis drain --wait                Return when nothing is in flight any more
  portcullis drain --wait --timeout 2m   Wait longer for it";

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    async fn outcome(line: &str, answers: Vec<Vec<String>>) -> (Result<(), Trouble>, String) {
        let matches = fake::matches(line);
        let (plane, _served) = fake::talk(answers).await;
        let output = Output::asked(&matches);
        let errand = Errand {
            plane: &plane,
            output,
        };
        let mut out = Vec::new();
        let ended = run(errand, Asked::new(&matches), &mut out).await;
        (ended, String::from_utf8(out).unwrap())
    }

    const DRAINING: &str = r#"{"phase":"draining"}"#;

    fn accepted() -> Vec<String> {
        fake::answer("202 Accepted", DRAINING)
    }

    fn status(phase: &str) -> Vec<String> {
        let body = format!(r#"{{"phase":"{phase}","counts":{{"in_flight":3}}}}"#);
        fake::answer("200 OK", &body)
    }

    #[tokio::test]
    async fn a_drain_begins_and_is_waited_for_where_that_is_wanted() {
        for (line, answers, wanted) in [
            (
                "drain --color never",
                vec![accepted()],
                "portcullis   draining\n",
            ),
            (
                "drain --output json",
                vec![accepted()],
                "{\"phase\":\"draining\"}\n",
            ),
            (
                "drain --wait --color never",
                vec![accepted(), status("draining"), status("stopped")],
                "portcullis   draining\nportcullis   drained\n",
            ),
            (
                "drain --wait --output json",
                vec![accepted(), status("draining"), status("stopped")],
                "{\"phase\":\"stopped\"}\n",
            ),
        ] {
            let (ended, text) = outcome(line, answers).await;
            assert_eq!((ended, &*text), (Ok(()), wanted), "{line}");
        }
    }

    #[tokio::test]
    async fn a_sidecar_that_ends_has_drained_if_it_was_seen_to_begin() {
        let answers = vec![accepted(), status("draining")];
        let (ended, text) = outcome("drain --wait --color never", answers).await;
        assert_eq!(ended, Ok(()));
        assert!(text.ends_with("drained, and ended\n"), "{text}");
        let (ended, text) = outcome("drain --wait", vec![Vec::new()]).await;
        assert_eq!((ended.unwrap_err().code(), &*text), (3, ""));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_given_up_and_goes_on() {
        let mut answers = vec![accepted()];
        answers.resize(100, status("draining"));
        let line = "drain --wait --timeout 300ms --color never";
        let (ended, text) = outcome(line, answers).await;
        let trouble = ended.unwrap_err();
        assert_eq!((trouble.code(), &*text), (4, "portcullis   draining\n"));
        assert!(
            trouble.to_string().starts_with("still draining"),
            "{trouble}"
        );
    }

    #[tokio::test]
    async fn a_refusal_ends_it_before_and_while_waiting() {
        let problem = |status| fake::answer(status, r#"{"detail":"not so"}"#);
        for answers in [
            vec![problem("403 Forbidden")],
            vec![accepted(), problem("429 Too Many Requests")],
        ] {
            let (ended, _) = outcome("drain --wait --color never", answers).await;
            assert_eq!(ended, Err(Trouble::Negative("not so".to_owned())));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sidecar_that_says_nothing_does_not_hold_up_the_end_of_its_pod() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plane = Plane::at(silent.local_addr().unwrap());
        let errand = Errand {
            plane: &plane,
            output: Output::Json,
        };
        let trouble = run(errand, Asked { wait: None }, &mut Vec::new()).await;
        let trouble = trouble.unwrap_err();
        assert_eq!(trouble.code(), 4);
        assert!(
            trouble.to_string().ends_with("nothing for 5 s"),
            "{trouble}"
        );
    }

    #[test]
    fn a_limit_without_a_wait_is_a_mistake() {
        let line = ["drain", "--timeout", "5s"];
        assert!(command().try_get_matches_from(line).is_err());
        let asked = Asked::new(&fake::matches("drain --wait"));
        assert_eq!(asked.wait, Some(PATIENCE));
    }
}
