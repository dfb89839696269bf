//! `portcullis certs`: what is served and what is on disk, and a reload with its real outcome.

use std::io::Write;

use clap::{ArgMatches, Command};
use http::Method;
use serde_json::Value;
use time::OffsetDateTime;

use super::Trouble;
use super::args::{Errand, with_common};
use super::certificates::time_left;
use super::client::{self, Request};
use super::rows::{Parts, draw, known, one, text, texts};
use crate::terminal::Ink;

pub(super) fn command() -> Command {
    let show = Command::new("get").about("Show them (as without a subcommand)");
    let reload = Command::new("reload")
        .about("Read what is on disk now, and serve it if it is sound")
        .after_help("What is not sound changes nothing: exit code 1, with the reason, and the old one is served on.\n\nExample: portcullis certs reload");
    let command = Command::new("certs")
        .about("Show the certificates of a running sidecar, or reload them")
        .subcommands([show, reload]);
    with_common(command, EXAMPLES)
}

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    reload: bool,
}

impl Asked {
    pub(super) fn new(matches: &ArgMatches) -> Self {
        Self {
            reload: matches.subcommand_name() == Some("reload"),
        }
    }
}

/// Asks or reloads, and writes the answer to `out`.
pub(super) async fn run(
    errand: Errand<'_>,
    asked: Asked,
    out: &mut impl Write,
) -> Result<(), Trouble> {
    if asked.reload {
        let request = Request::change(Method::POST, "/certs/reload");
        let said = client::ask(errand.plane, &request).await?;
        return errand
            .output
            .show(out, &said, |colour| draw(attempts(&said.value), colour));
    }
    let said = client::ask(errand.plane, &Request::get("/certs")).await?;
    let now = OffsetDateTime::now_utc();
    errand
        .output
        .show(out, &said, |colour| draw(all(&said.value, now), colour))
}

type Row = (&'static str, Parts);

/// What every part came to.
fn attempts(said: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    for attempt in list(&said["attempts"]) {
        let (source, result) = (text(&attempt["source"]), text(&attempt["result"]));
        let (ink, words) = match (result, attempt["generation"].as_u64()) {
            ("published", Some(number)) => (Ink::Green, format!("generation {number} is served")),
            (_, Some(number)) => (
                Ink::Plain,
                format!("nothing to do, generation {number} is what is on disk"),
            ),
            _ => (Ink::Plain, String::new()),
        };
        let parts = vec![
            (ink, format!("{result}: ")),
            (Ink::Plain, format!("{source}: {words}")),
        ];
        rows.push(("reload", parts));
        rows.extend(texts(&attempt["warnings"]).map(|note| ("  warning", one(Ink::Yellow, note))));
    }
    rows
}

/// All that is served and on disk.
fn all(said: &Value, now: OffsetDateTime) -> Vec<Row> {
    let mut rows = vec![
        ("generation", generation(said)),
        ("client auth", client_auth(&said["client_auth"])),
        ("ticket keys", ticket_keys(&said["ticket_keys"])),
    ];
    for part in list(&said["parts"]) {
        rows.extend(self::part(part, now));
    }
    rows
}

/// `3, since 2026-11-23T00:52:39Z`
fn generation(said: &Value) -> Parts {
    match said["generation"].as_u64() {
        None => Parts::new(),
        Some(0) => one(Ink::Red, "none: no certificate has been loaded yet"),
        Some(number) => one(
            Ink::Plain,
            format!("{number}, served since {}", text(&said["since"])),
        ),
    }
}

fn client_auth(policy: &Value) -> Parts {
    if !policy.is_object() {
        return one(Ink::Plain, "off: clients are not asked for a certificate");
    }
    let mode = if policy["required"] == true {
        "required"
    } else {
        "optional"
    };
    let mut words = mode.to_owned();
    for (name, before) in [
        ("allow_san", "only with a name of"),
        ("exempt", "but not for"),
    ] {
        let values: Vec<&str> = texts(&policy[name]).collect();
        if !values.is_empty() {
            words = format!("{words}, {before} {}", values.join(", "));
        }
    }
    one(Ink::Plain, words)
}

fn ticket_keys(origin: &Value) -> Parts {
    match origin.as_str() {
        Some("seed") => one(Ink::Plain, "from the seed that replicas share"),
        Some("random") => one(Ink::Plain, "this process's own"),
        _ => known(origin),
    }
}

/// One part: its chain, whether the disk has something else, and how the last attempt went.
fn part(part: &Value, now: OffsetDateTime) -> Vec<Row> {
    let label = match part["kind"].as_str() {
        Some("client_ca") => "client CA",
        Some("ticket_seed") => "ticket seed",
        _ => "certificate",
    };
    let mut rows = vec![(label, one(Ink::Bold, text(&part["source"])))];
    for element in list(&part["chain"]) {
        rows.extend(self::element(element, now));
    }
    let authorities = list(&part["client_ca"]);
    rows.extend(authorities.map(|ca| ("  client CA", authority(ca, now))));
    rows.extend(list(&part["crls"]).map(|crl| ("  CRL", revoked(crl))));
    rows.push(("  on disk", on_disk(part)));
    rows.push(("  last try", last_try(&part["last_attempt"])));
    let error = part["last_error"].as_str();
    rows.extend(error.map(|error| ("  error", one(Ink::Red, error))));
    rows.extend(texts(&part["warnings"]).map(|note| ("  warning", one(Ink::Yellow, note))));
    rows
}

fn element(element: &Value, now: OffsetDateTime) -> [Row; 6] {
    let names: Vec<&str> = texts(&element["names"]).collect();
    let names = if names.is_empty() {
        Parts::new()
    } else {
        one(Ink::Plain, names.join(", "))
    };
    [
        ("  subject", known(&element["subject"])),
        ("  issuer", known(&element["issuer"])),
        ("  names", names),
        ("  serial", known(&element["serial"])),
        ("  sha256", known(&element["sha256"])),
        ("  valid", valid(element, now)),
    ]
}

/// `2026-11-23T00:00:00Z to 2027-02-20T12:00:00Z, 89 days left`
fn valid(element: &Value, now: OffsetDateTime) -> Parts {
    let Some((ink, left)) = time_left(&element["not_after"], now) else {
        return Parts::new();
    };
    let [from, to] = ["not_before", "not_after"].map(|name| text(&element[name]));
    vec![(Ink::Plain, format!("{from} to {to}, ")), (ink, left)]
}

fn authority(ca: &Value, now: OffsetDateTime) -> Parts {
    let mut parts = known(&ca["subject"]);
    if let Some((ink, left)) = time_left(&ca["not_after"], now) {
        parts.push((Ink::Plain, ": ".to_owned()));
        parts.push((ink, left));
    }
    parts
}

fn revoked(crl: &Value) -> Parts {
    let next = crl["next_update"].as_str().unwrap_or("none");
    let words = format!(
        "{}: {} revoked, next update {next}",
        text(&crl["issuer"]),
        crl["revoked"]
    );
    one(Ink::Plain, words)
}

fn on_disk(part: &Value) -> Parts {
    if let Some(since) = part["disk_differs_since"].as_str() {
        let mut words = format!("another since {since}");
        if let Some(sha256) = part["on_disk"]["sha256"].as_str() {
            words = format!("{words}: sha256 {sha256}");
        }
        return one(Ink::Yellow, words);
    }
    let since = part["last_success"].as_str();
    let since = since.map(|since| one(Ink::Plain, format!("the same, as seen {since}")));
    since.unwrap_or_default()
}

fn last_try(attempt: &Value) -> Parts {
    let Some(time) = attempt["time"].as_str() else {
        return Parts::new();
    };
    let [result, trigger] = ["result", "trigger"].map(|name| text(&attempt[name]));
    let ink = match result {
        "failed" => Ink::Red,
        _ => Ink::Plain,
    };
    one(ink, format!("{result} at {time} ({trigger})"))
}

fn list(values: &Value) -> impl Iterator<Item = &Value> {
    values.as_array().into_iter().flatten()
}

const EXAMPLES: &str = "\
Examples:
  portcullis certs                                          What is served, and what is on disk
  portcullis certs reload                                   Serve what is on disk now
  portcullis certs --output json | jq -r .chain[0].not_after";

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::format_description::well_known::Rfc3339;

    use super::super::fake;
    use super::*;

    async fn outcome(
        line: &str,
        status: &str,
        body: &str,
    ) -> (Result<(), Trouble>, String, String) {
        let pieces = fake::answer(status, body);
        fake::outcome(line, pieces, async |errand, matches, out| {
            run(errand, Asked::new(matches), out).await
        })
        .await
    }

    fn drawn(said: &Value) -> String {
        let now = OffsetDateTime::parse("2026-11-23T00:00:00Z", &Rfc3339).unwrap();
        String::from_utf8(draw(all(said, now), false)).unwrap()
    }

    #[test]
    fn what_is_served_and_what_is_on_disk_stand_together() {
        let said = json!({
            "generation": 3, "since": "2026-11-22T00:00:00Z", "ticket_keys": "random",
            "client_auth": {"required": true, "allow_san": ["DNS:*.a"], "exempt": ["/healthz"]},
            "parts": [
                {
                    "source": "/tls", "kind": "certificate", "on_disk": {"sha256": "00ff"}, "disk_differs_since": "2026-11-22T01:00:00Z",
                    "chain": [{
                        "subject": "CN=a", "issuer": "CN=ca", "names": ["DNS:a", "DNS:b"], "serial": "01:02", "sha256": "abcd",
                        "not_before": "2026-11-20T00:00:00Z", "not_after": "2027-02-20T12:00:00Z",
                    }],
                    "client_ca": [{"subject": "CN=clients", "not_after": "2026-11-24T12:00:00Z"}],
                    "crls": [{"issuer": "CN=clients", "revoked": 2, "next_update": null}],
                    "warnings": ["it has no names\u{1b}"], "last_error": "the key does not fit",
                    "last_attempt": {"time": "2026-11-22T01:00:00Z", "trigger": "notify", "result": "failed"},
                },
                {"source": "/seed", "kind": "ticket_seed", "chain": [], "last_success": "2026-11-22T00:00:00Z"},
            ],
        });
        assert_eq!(
            drawn(&said),
            "\
generation   3, served since 2026-11-22T00:00:00Z
client auth  required, only with a name of DNS:*.a, but not for /healthz
ticket keys  this process's own
certificate  /tls
  subject    CN=a
  issuer     CN=ca
  names      DNS:a, DNS:b
  serial     01:02
  sha256     abcd
  valid      2026-11-20T00:00:00Z to 2027-02-20T12:00:00Z, 89 days left
  client CA  CN=clients: 1 day left
  CRL        CN=clients: 2 revoked, next update none
  on disk    another since 2026-11-22T01:00:00Z: sha256 00ff
  last try   failed at 2026-11-22T01:00:00Z (notify)
  error      the key does not fit
  warning    it has no names\\x1b
ticket seed  /seed
  on disk    the same, as seen 2026-11-22T00:00:00Z
"
        );
        let none = drawn(&json!({"generation": 0}));
        assert!(
            none.starts_with("generation   none: no certificate"),
            "{none}"
        );
    }

    #[tokio::test]
    async fn a_reload_tells_its_real_outcome() {
        let body = r#"{"result":"published","generation":4,"attempts":[
            {"source":"/tls","result":"published","generation":4,"warnings":["odd"]},{"source":"/two","result":"unchanged","generation":4}]}"#;
        let (ended, text, request) = outcome("certs reload --color never", "200 OK", body).await;
        assert_eq!(ended, Ok(()));
        assert!(
            request.starts_with("POST /certs/reload HTTP/1.1\r\n"),
            "{request}"
        );
        assert_eq!(
            text,
            "\
reload       published: /tls: generation 4 is served
  warning    odd
reload       unchanged: /two: nothing to do, generation 4 is what is on disk
"
        );
        let (_, text, _) = outcome("certs reload --output json", "200 OK", body).await;
        assert_eq!(text, format!("{body}\n"));
        let problem =
            r#"{"detail":"nothing was changed: the key does not fit","reason":"key_mismatch"}"#;
        let (ended, text, _) = outcome("certs reload", "409 Conflict", problem).await;
        let words = "nothing was changed: the key does not fit".to_owned();
        assert_eq!((ended, &*text), (Err(Trouble::Negative(words)), ""));
    }

    #[tokio::test]
    async fn the_certificates_are_shown_with_and_without_saying_so() {
        for line in ["certs --output json", "certs get --output json"] {
            let (ended, text, request) = outcome(line, "200 OK", "{}").await;
            assert_eq!((ended, &*text), (Ok(()), "{}\n"));
            assert!(request.starts_with("GET /certs HTTP/1.1\r\n"), "{request}");
        }
    }
}
