//! `portcullis logs`: the recent records, oldest first as a log reads, and those to come.

use std::io::Write;
use std::time::{Duration, SystemTime};

use clap::{ArgMatches, Command, value_parser};
use serde_json::{Map, Value};

use super::args::{Output, switch, valued, with_common};
use super::client::{self, Request};
use super::plane::Plane;
use super::query::Query;
use super::{Trouble, show, tell};
use crate::records::{Fields, write_text};
use crate::terminal::{Ink, Pen};

pub(super) fn command() -> Command {
    let command = Command::new("logs")
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
    with_common(command, EXAMPLES)
}

/// What the command line asks for.
#[derive(Debug)]
pub(super) struct Asked {
    query: Query,
    follow: bool,
    output: Output,
}

impl Asked {
    pub(super) fn new(matches: &ArgMatches, now: SystemTime) -> Result<Self, Trouble> {
        let text = |name: &str| matches.get_one::<String>(name);
        let follow = matches.get_flag("follow");
        let mut query = Query::new("/logs");
        if follow {
            query.add("follow", "true");
        }
        let limit = matches.get_one::<u64>("limit").copied();
        let usual = match (follow, text("since")) {
            (_, Some(_)) => None,
            (true, None) => Some(10),
            (false, None) => Some(20),
        };
        if let Some(limit) = limit.or(usual) {
            query.add("limit", &limit.to_string());
        }
        if let Some(since) = text("since") {
            query.add("since", &moment(since, now)?);
        }
        let judged_there = FILTERS.iter().map(|(name, ..)| *name).chain(["kind"]);
        for name in judged_there.filter(|name| *name != "since") {
            if let Some(value) = text(name) {
                query.add(&name.replace('-', "_"), value);
            }
        }
        let output = Output::asked(matches);
        Ok(Self {
            query,
            follow,
            output,
        })
    }
}

/// A duration becomes the moment that it goes back to; what is none is left to the admin plane.
fn moment(since: &str, now: SystemTime) -> Result<String, Trouble> {
    let Ok(ago) = humantime::parse_duration(since) else {
        return Ok(since.to_owned());
    };
    let moment = now
        .checked_sub(ago)
        .filter(|moment| *moment > SystemTime::UNIX_EPOCH);
    let moment =
        moment.ok_or_else(|| Trouble::Usage(format!("--since {since} is too long ago")))?;
    Ok(humantime::format_rfc3339_millis(moment).to_string())
}

/// Asks, and writes the answer to `out`.
pub(super) async fn run(plane: &Plane, asked: &Asked, out: &mut impl Write) -> Result<(), Trouble> {
    let request = Request::get(asked.query.as_str()).accept("application/x-ndjson");
    let answer = client::send(plane, &request).await?;
    if asked.follow {
        return follow(answer, asked.output, out).await;
    }
    let body = answer.whole().await?;
    let mut text = Vec::new();
    // The admin plane begins with the newest.
    for line in body.split(|byte| *byte == b'\n').rev() {
        render(line, asked.output, &mut text);
    }
    show(out, &text)
}

async fn follow(
    mut answer: client::Answer<'_>,
    output: Output,
    out: &mut impl Write,
) -> Result<(), Trouble> {
    let mut unfinished = Vec::new();
    loop {
        let piece = match answer.next(SILENCE).await {
            Ok(Some(piece)) => piece,
            // A sidecar that ends does not take the time to end its streams.
            Ok(None) | Err(Trouble::Broken(_)) => break,
            Err(trouble) => return Err(trouble),
        };
        unfinished.extend_from_slice(&piece);
        if unfinished.len() > LONGEST {
            return Err(Trouble::Unreachable(
                "what answers is no admin plane: its lines have no end".to_owned(),
            ));
        }
        let Some(end) = memchr::memrchr(b'\n', &unfinished) else {
            continue;
        };
        let mut text = Vec::new();
        for line in unfinished[..end].split(|byte| *byte == b'\n') {
            render(line, output, &mut text);
        }
        unfinished.drain(..=end);
        show(out, &text)?;
    }
    tell("the sidecar has ended the stream");
    Ok(())
}

/// Writes what a line of the answer says.
fn render(line: &[u8], output: Output, out: &mut Vec<u8>) {
    let record: Option<Map<String, Value>> = serde_json::from_slice(line).ok();
    let field = |name| record.as_ref().and_then(|record| record.get(name));
    let kind = field("kind").and_then(Value::as_str);
    if line.is_empty() || kind == Some("heartbeat") {
        return;
    }
    match output {
        Output::Json => out.extend_from_slice(line),
        Output::Text { colour } => match &record {
            Some(_) if kind == Some("missed") => {
                let missed = field("missed").and_then(Value::as_u64).unwrap_or_default();
                let words = format!("… {missed} records missed");
                Pen { out, colour }.put(Ink::Yellow, &words);
            }
            Some(record) => write_text(&Fields::from_json(record), colour, out),
            None => Pen { out, colour }.put(Ink::Plain, &String::from_utf8_lossy(line)),
        },
    }
    out.push(b'\n');
}

/// The filters that the admin plane judges: name, value and help.
const FILTERS: [(&str, &str, &str); 7] = [
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

/// Bytes of what comes at once; a record has some thousand.
const LONGEST: usize = 8 << 20;
/// Three heartbeats.
const SILENCE: Duration = Duration::from_secs(45);

const EXAMPLES: &str = "\
Examples:
  portcullis logs                               The latest 20 records, oldest first
  portcullis logs -f --status 5xx               What fails, as it fails
  portcullis logs --since 5m --path /cart       All of the last five minutes below a path
  portcullis logs --kind audit                  Who changed what
  portcullis logs --output json | jq .reason    For programs: one JSON object a line";

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::fake;
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn asked(line: &str) -> Result<Asked, Trouble> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        Asked::new(&fake::matches(line), now)
    }

    /// How it ended, what was written, and what was asked of the admin plane.
    async fn outcome(line: &str, pieces: Vec<String>) -> (Result<(), Trouble>, String, String) {
        let asked = asked(line).unwrap();
        fake::outcome(line, pieces, async |errand, _, out| {
            run(errand.plane, &asked, out).await
        })
        .await
    }

    #[test]
    fn the_filters_are_asked_of_the_admin_plane() {
        for (line, wanted) in [
            ("logs", "/logs?limit=20"),
            ("logs -f", "/logs?follow=true&limit=10"),
            ("logs --limit 3", "/logs?limit=3"),
            (
                "logs --since 5m",
                "/logs?since=2027-01-15T07%3A55%3A00.000Z",
            ),
            (
                "logs --follow --since 1h --limit 1",
                "/logs?follow=true&limit=1&since=2027-01-15T07%3A00%3A00.000Z",
            ),
            (
                "logs --since 2026-11-22T10:00:00Z",
                "/logs?since=2026-11-22T10%3A00%3A00Z",
            ),
            (
                "logs --limit 1 --status 5xx --method GET --path /a --min-ms 0.5 --client ::1 --reason internal --kind exchange",
                "/logs?limit=1&status=5xx&method=GET&path=%2Fa&min_ms=0.5&client=%3A%3A1&reason=internal&kind=exchange",
            ),
        ] {
            assert_eq!(asked(line).unwrap().query.as_str(), wanted, "{line}");
        }
        assert_eq!(asked("logs --since 99y").unwrap_err().code(), 2);
    }

    #[tokio::test]
    async fn recent_records_are_shown_oldest_first() {
        let body =
            "{\"kind\":\"exchange\",\"path\":\"/2\"}\n{\"kind\":\"exchange\",\"path\":\"/1\"}\n";
        let pieces = fake::answer("200 OK", body);
        let (ended, text, request) = outcome("logs --color never", pieces.clone()).await;
        assert_eq!(ended, Ok(()));
        let paths: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        assert_eq!(paths, ["/1", "/2"]);
        assert!(
            request.starts_with("GET /logs?limit=20 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request
                .to_ascii_lowercase()
                .contains("accept: application/x-ndjson\r\n"),
            "{request}"
        );
        let (_, lines, _) = outcome("logs --output json", pieces).await;
        assert_eq!(
            lines,
            "{\"kind\":\"exchange\",\"path\":\"/1\"}\n{\"kind\":\"exchange\",\"path\":\"/2\"}\n"
        );
    }

    #[tokio::test]
    async fn a_follower_sees_whole_lines_and_what_was_missed_until_the_sidecar_ends() {
        let chunks = [
            "{\"kind\":\"audit\",\"action\":\"a\"}\n{\"kind\":",
            "\"heartbeat\",\"time\":\"t\"}\n",
            "{\"kind\":\"missed\",\"missed\":12}\nodd\u{1b}\n",
            "{\"kind\":\"audit\",\"action\":\"cut of",
        ];
        let (ended, text, request) = outcome("logs -f --color never", fake::stream(&chunks)).await;
        assert_eq!(ended, Ok(()));
        assert_eq!(text, "-  audit         a\n… 12 records missed\nodd\\x1b\n");
        assert!(
            request.starts_with("GET /logs?follow=true&limit=10 HTTP/1.1\r\n"),
            "{request}"
        );
        let (_, lines, _) = outcome("logs -f --output json", fake::stream(&chunks)).await;
        assert_eq!(
            lines,
            "{\"kind\":\"audit\",\"action\":\"a\"}\n{\"kind\":\"missed\",\"missed\":12}\nodd\u{1b}\n"
        );
    }

    #[tokio::test]
    async fn a_stream_without_heartbeats_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plane = Plane::at(listener.local_addr().unwrap());
        let request = Request::get("/logs");
        let (answer, stream) = tokio::join!(client::send(&plane, &request), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = fake::stream(&[]).concat();
            tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
                .await
                .unwrap();
            stream
        });
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        let ended = follow(answer.unwrap(), Output::Json, &mut Vec::new()).await;
        assert_eq!(ended.unwrap_err().code(), 4);
        assert!(began.elapsed() >= SILENCE);
        drop(stream);
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_reader_that_has_enough_is_no_failure() {
        for (line, pieces) in [
            ("logs", fake::answer("200 OK", "{}\n")),
            ("logs -f", fake::stream(&["{}\n"])),
        ] {
            let (plane, _served) = fake::admin(pieces).await;
            let ended = run(&plane, &asked(line).unwrap(), &mut Closed).await;
            assert_eq!(ended, Err(Trouble::Unread), "{line}");
        }
        assert_eq!(Trouble::Unread.code(), 0);
    }
}
