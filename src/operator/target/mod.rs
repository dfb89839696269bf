//! `portcullis target`: where requests go, and a change of that as a transaction.

mod asked;

use std::io::Write;

use serde_json::Value;

pub(super) use self::asked::{Asked, command};

use self::asked::Deed;
use super::args::{Errand, Output};
use super::client::{self, Said};
use super::rows::{Parts, draw, known, one, text};
use super::{Trouble, show};
use crate::terminal::Ink;

/// Asks or changes, and writes what is in force then.
pub(super) async fn run(
    errand: Errand<'_>,
    asked: &Asked,
    out: &mut impl Write,
) -> Result<(), Trouble> {
    let said = client::ask(errand.plane, &asked.request()).await?;
    match errand.output {
        Output::Text { colour } => {
            let done = [("done", outcome(asked.deed(), &said.value))];
            show(out, &draw(done.into_iter().chain(rows(&said)), colour))
        }
        Output::Json => show(out, &with_etag(said)),
    }
}

/// What was done, if anything.
fn outcome(deed: &Deed, said: &Value) -> Parts {
    let url = text(&said["url"]);
    match deed {
        Deed::Show => Parts::new(),
        Deed::Set if said["dry_run"] == true => one(
            Ink::Yellow,
            format!(
                "nothing, this was a dry run: the change would be accepted, requests still go to {url}"
            ),
        ),
        Deed::Set => one(Ink::Green, format!("requests go to {url}")),
        Deed::Confirm => one(Ink::Green, format!("confirmed, requests go on to {url}")),
        Deed::Revert => one(
            Ink::Green,
            format!("requests go to {url}, the configured target"),
        ),
    }
}

/// All there is to know of the target.
fn rows(said: &Said) -> Vec<(&'static str, Parts)> {
    let target = &said.value;
    let mut rows: Vec<_> = in_force(target).into();
    rows.insert(1, ("configured", configured(target)));
    rows.push(("checked", checked(&target["checked"])));
    rows.push(("rolled back", rolled_back(&target["last_rollback"])));
    let etag = said.etag.as_deref().map(|tag| one(Ink::Faint, tag));
    rows.push(("etag", etag.unwrap_or_default()));
    rows
}

/// What is in force, and what it waits for: also rows of the status.
pub(super) fn in_force(target: &Value) -> [(&'static str, Parts); 2] {
    [("target", url(target)), ("trial", trial(&target["trial"]))]
}

fn url(target: &Value) -> Parts {
    let mut parts = known(&target["url"]);
    if parts.is_empty() {
        return parts;
    }
    if let Some(address) = target["answers_at"].as_str() {
        parts.push((Ink::Faint, format!(" (answers at {address})")));
    }
    if target["drift"] == true {
        let configured = text(&target["configured"]);
        parts.push((Ink::Yellow, format!("  drift: configured is {configured}")));
    }
    parts
}

/// `http://127.0.0.1:8080, to which a restart returns`
fn configured(target: &Value) -> Parts {
    let mut parts = known(&target["configured"]);
    let after = target["after_restart"].as_str();
    if target["drift"] == true && !parts.is_empty() {
        let words = match after {
            Some(after) if Some(after) != target["configured"].as_str() => {
                format!("; a restart goes to {after}")
            }
            _ => ", to which a restart returns".to_owned(),
        };
        parts.push((Ink::Faint, words));
    }
    parts
}

/// `57 s left to confirm it, or requests go to http://127.0.0.1:8080 again; 12 exchanges, 0 failed`
fn trial(trial: &Value) -> Parts {
    let Some(seconds) = trial["seconds_left"].as_u64() else {
        return Parts::new();
    };
    let before = text(&trial["returns_to"]);
    let words = format!("{seconds} s left to confirm it, or requests go to {before} again");
    let mut parts = one(Ink::Yellow, words);
    if let (Some(exchanges), Some(failed)) = (trial["exchanges"].as_u64(), trial["failed"].as_u64())
    {
        let ink = if failed > 0 { Ink::Red } else { Ink::Plain };
        let noun = if exchanges == 1 {
            "exchange"
        } else {
            "exchanges"
        };
        parts.push((ink, format!("; {exchanges} {noun}, {failed} failed")));
    }
    parts
}

/// `127.0.0.1:8081 answered 200`, as far as it was looked at.
fn checked(checked: &Value) -> Parts {
    let [address, url] = ["address", "url"].map(|name| checked[name].as_str());
    let Some(place) = address.or(url) else {
        return Parts::new();
    };
    let words = match checked["status"].as_u64() {
        Some(status) => format!("{place} answered {status}"),
        None => format!("{place} takes connections"),
    };
    one(Ink::Green, words)
}

/// `2026-11-23T00:52:39Z, from http://… to http://…: unconfirmed, …`
fn rolled_back(rollback: &Value) -> Parts {
    let Some(time) = rollback["time"].as_str() else {
        return Parts::new();
    };
    let [from, to, reason] = ["from", "to", "reason"].map(|name| text(&rollback[name]));
    let mut words = format!("{time}, from {from} to {to}: {reason}");
    if let Some(detail) = rollback["detail"].as_str() {
        words = format!("{words}, {detail}");
    }
    one(Ink::Yellow, words)
}

/// The answer, with the tag that `--if-match` takes.
fn with_etag(mut said: Said) -> Vec<u8> {
    if let (Some(object), Some(tag)) = (said.value.as_object_mut(), said.etag) {
        object.insert("etag".to_owned(), tag.into());
        said.text = said.value.to_string().into_bytes();
    }
    said.text.push(b'\n');
    said.text
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    struct Ended {
        how: Result<(), Trouble>,
        text: String,
        request: String,
    }

    async fn outcome(line: &str, pieces: Vec<String>) -> Ended {
        let (how, text, request) = fake::outcome(line, pieces, async |errand, matches, out| {
            run(errand, &Asked::new(matches)?, out).await
        })
        .await;
        Ended { how, text, request }
    }

    fn answer(body: &str) -> Vec<String> {
        fake::answer_with("200 OK", "ETag: \"7\"\r\n", body)
    }

    const PLAIN: &str = r#"{"url":"http://127.0.0.1:8080","configured":"http://127.0.0.1:8080","drift":false,"after_restart":"http://127.0.0.1:8080"}"#;
    const MOVED: &str = r#"{"url":"http://localhost:8081","configured":"http://127.0.0.1:8080","drift":true,"after_restart":"http://127.0.0.1:8080",
        "answers_at":"[::1]:8081","checked":{"url":"http://localhost:8081","address":"[::1]:8081","status":200},
        "trial":{"until":"2026-11-23T00:53:39Z","seconds_left":57,"returns_to":"http://127.0.0.1:8080","exchanges":1,"failed":0},
        "last_rollback":{"time":"2026-11-23T00:52:39Z","from":"http://127.0.0.1:8082","to":"http://127.0.0.1:8080","reason":"failures","detail":"5 of 8 failed"}}"#;

    #[tokio::test]
    async fn the_target_is_shown_with_all_that_happens_to_it() {
        for line in ["target --color never", "target get --color never"] {
            let ended = outcome(line, answer(PLAIN)).await;
            assert_eq!(ended.how, Ok(()));
            assert!(ended.request.starts_with("GET /target HTTP/1.1\r\n"));
            assert_eq!(
                ended.text,
                "\
target       http://127.0.0.1:8080
configured   http://127.0.0.1:8080
etag         \"7\"
"
            );
        }
        let ended = outcome("target --color never", answer(MOVED)).await;
        assert_eq!(
            ended.text,
            "\
target       http://localhost:8081 (answers at [::1]:8081)  drift: configured is http://127.0.0.1:8080
configured   http://127.0.0.1:8080, to which a restart returns
trial        57 s left to confirm it, or requests go to http://127.0.0.1:8080 again; 1 exchange, 0 failed
checked      [::1]:8081 answered 200
rolled back  2026-11-23T00:52:39Z, from http://127.0.0.1:8082 to http://127.0.0.1:8080: failures, 5 of 8 failed
etag         \"7\"
"
        );
    }

    #[tokio::test]
    async fn json_is_the_answer_and_its_tag() {
        let ended = outcome("target --output json", answer(PLAIN)).await;
        let said: Value = serde_json::from_str(&ended.text).unwrap();
        assert_eq!(said["etag"], "\"7\"");
        assert_eq!(said["url"], "http://127.0.0.1:8080");
        let older = outcome("target --output json", fake::answer("200 OK", PLAIN)).await;
        assert_eq!(older.text, format!("{PLAIN}\n"));
    }

    #[tokio::test]
    async fn a_change_says_what_was_done() {
        let dry = PLAIN.replacen('{', r#"{"dry_run":true,"#, 1);
        for (line, body, request, done) in [
            (
                "target set :8081",
                MOVED,
                "PUT /target HTTP/1.1\r\n",
                "requests go to http://localhost:8081",
            ),
            (
                "target set :8081 --dry-run",
                &dry,
                "PUT /target HTTP/1.1\r\n",
                "nothing, this was a dry run: the change would be accepted, requests still go to http://127.0.0.1:8080",
            ),
            (
                "target confirm",
                MOVED,
                "POST /target/confirm HTTP/1.1\r\n",
                "confirmed, requests go on to http://localhost:8081",
            ),
            (
                "target revert",
                PLAIN,
                "DELETE /target HTTP/1.1\r\n",
                "requests go to http://127.0.0.1:8080, the configured target",
            ),
        ] {
            let ended = outcome(&format!("{line} --color never"), answer(body)).await;
            assert_eq!(ended.how, Ok(()), "{line}");
            assert!(ended.request.starts_with(request), "{}", ended.request);
            let first = ended.text.lines().next().unwrap();
            assert_eq!(first, format!("done         {done}"), "{line}");
        }
    }

    #[tokio::test]
    async fn a_change_that_is_refused_changes_nothing_and_says_why() {
        for (line, status) in [
            (
                "target set http://169.254.169.254",
                "422 Unprocessable Entity",
            ),
            ("target set :1 --if-match 6", "412 Precondition Failed"),
            ("target confirm", "409 Conflict"),
            ("target revert", "403 Forbidden"),
        ] {
            let ended = outcome(line, fake::answer(status, r#"{"detail":"not so"}"#)).await;
            assert_eq!(ended.how, Err(Trouble::Negative("not so".to_owned())));
            assert_eq!(ended.text, "");
        }
    }
}
