use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore};

use crate::support::{
    App, Client, PATIENCE, Sidecar, eventually, h2_get, read_until, running, slow,
};

const AGREED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const ASKS: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// 1001, going away.
const BYE: &[u8] = &[0x88, 2, 0x03, 0xE9];
/// The client's answer to it, masked with zeros.
const BYE_TOO: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE9];

#[tokio::test]
async fn a_websocket_is_told_1001_between_two_frames_and_ends_in_order() {
    let go_on = Arc::new(Notify::new());
    let (script, (heard, mut said)) = (Arc::clone(&go_on), tokio::sync::mpsc::unbounded_channel());
    let app = App::scripted(move |mut talk| {
        let (go_on, heard) = (Arc::clone(&script), heard.clone());
        async move {
            talk.head().await?;
            // A text of four bytes, of which two come late.
            talk.say(&[AGREED, &[0x81, 4, b'h', b'a']].concat()).await?;
            go_on.notified().await;
            // What comes after the close frame is for nobody.
            talk.say(b"lf\x81\x04late").await?;
            let mut all = Vec::new();
            talk.stream.read_to_end(&mut all).await?;
            let _ = heard.send(all);
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--drain-timeout", "1m"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream.write_all(ASKS).await.unwrap();
    read_until(&mut stream, b"\x81\x04ha").await.unwrap();
    sidecar.signal(Signal::TERM);
    sidecar.finishing().await;
    go_on.notify_one();
    let mut rest = [0; 6];
    stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(rest, [&b"lf"[..], BYE].concat()[..]);
    stream.write_all(BYE_TOO).await.unwrap();
    // In order: with close_notify, and without a word of what came late.
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert_eq!(
        said.recv().await.unwrap(),
        BYE_TOO,
        "the application hears it, too"
    );
    let ended = sidecar.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("drained=1 cut=0"), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("drained_by_kind=1 upgraded cut_by_kind=none"),
        "{}",
        ended.stderr
    );
    let record: Value = ended
        .stdout
        .lines()
        .find(|line| line.contains("/chat"))
        .map(|line| serde_json::from_str(line).unwrap())
        .unwrap();
    assert_eq!(
        (&record["status"], &record["reason"]),
        (&json!(101), &json!(""))
    );
}

#[tokio::test]
async fn a_websocket_that_does_not_answer_the_close_frame_is_cut_before_the_deadline() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.say(AGREED).await?;
        talk.stream.read_to_end(&mut Vec::new()).await?;
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--drain-timeout", "1h"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream.write_all(ASKS).await.unwrap();
    read_until(&mut stream, b"\r\n\r\n").await.unwrap();
    sidecar.signal(Signal::TERM);
    let mut bye = [0; 4];
    stream.read_exact(&mut bye).await.unwrap();
    assert_eq!(bye, BYE);
    let record = sidecar.exchange("/chat").await;
    assert_eq!(record["reason"], "drain_cut");
    let ended = sidecar.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("cut_by_kind=1 upgraded"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn the_steps_of_a_drain_are_seen_in_the_status() {
    let go_on = Arc::new(Notify::new());
    let app = slow(&go_on).await;
    let delays = ["--drain-delay", "2s", "--drain-timeout", "1h"];
    let sidecar = Sidecar::start(&app, &delays).await;
    assert_eq!(sidecar.admin("/status").await.json().get("drain"), None);
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let asked = tokio::spawn(async move { h2.exchange(h2_get("/slow"), None).await });
    eventually("it is in flight", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    sidecar.ask_admin("POST", "/drain", "").await;
    let at = async |step: &str| {
        eventually(step, async || {
            let status = sidecar.admin("/status").await.json();
            (status["drain"]["step"] == step).then(|| status["drain"].clone())
        })
        .await
    };
    for step in ["announcing", "finishing"] {
        let drain = at(step).await;
        let left = drain["seconds_left"].as_u64().unwrap();
        assert!((3500..=3602).contains(&left), "{drain}");
    }
    go_on.notify_one();
    assert_eq!(asked.await.unwrap().unwrap().0, 200);
    let drain = at("over").await;
    let wanted = json!({ "step": "over", "seconds_left": 0, "drained": { "http2": 1 }, "cut": {} });
    assert_eq!(drain, wanted);
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code, Some(0));
}

#[tokio::test]
async fn a_response_that_streams_goes_on_through_the_drain_to_its_end() {
    let go_on = Arc::new(Semaphore::new(0));
    let script = Arc::clone(&go_on);
    let app = App::scripted(move |mut talk| {
        let go_on = Arc::clone(&script);
        async move {
            talk.head().await?;
            talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
                .await?;
            go_on.acquire().await.unwrap().forget();
            talk.say(b"4\r\nrest\r\n0\r\n\r\n").await
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--drain-timeout", "1m"]).await;
    let mut h1 = Client::h1(&sidecar).connect().await.unwrap();
    h1.write_all(b"GET /h1 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut h1, b"half\r\n").await.unwrap();
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let streamed = tokio::spawn(async move { h2.exchange(h2_get("/h2"), None).await });
    eventually("both stream", async || {
        (app.heads().len() == 2).then_some(())
    })
    .await;
    sidecar.signal(Signal::TERM);
    sidecar.finishing().await;
    go_on.add_permits(2);
    let mut rest = Vec::new();
    h1.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"4\r\nrest\r\n0\r\n\r\n");
    assert_eq!(streamed.await.unwrap().unwrap().2, b"halfrest");
    let ended = sidecar.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("drained_by_kind=1 http1, 1 http2"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn who_was_let_in_before_the_door_closed_is_answered() {
    let app = crate::support::hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--drain-timeout", "1m"]).await;
    let mut new = Client::h1(&sidecar).connect().await.unwrap();
    let mut used = Client::h1(&sidecar).connect().await.unwrap();
    used.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut used, b"hi").await.unwrap();
    sidecar.signal(Signal::TERM);
    sidecar.finishing().await;
    // One that has been used and is idle goes at once, one that is new has a moment.
    new.write_all(b"GET /new HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    new.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(used.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert_eq!(sidecar.ended().await.code, Some(0));
}

#[tokio::test]
async fn when_the_application_is_gone_first_new_requests_are_held_and_then_told_when_to_come_back()
{
    let app = crate::support::hello("hi").await;
    let gone = app.address;
    let sidecar = Sidecar::start(
        &app,
        &["--drain-delay", "1h", "--connect-retry-for", "100ms"],
    )
    .await;
    drop(app);
    eventually("nobody listens", async || {
        tokio::net::TcpStream::connect(gone)
            .await
            .is_err()
            .then_some(())
    })
    .await;
    // A native sidecar gets its signal when the application has ended.
    sidecar.signal(Signal::TERM);
    eventually("not ready", async || {
        (sidecar.probe("/readyz").await.status == 503).then_some(())
    })
    .await;
    let answer = Client::h1(&sidecar).get("/late").await;
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (503, Some("1"))
    );
    let record = sidecar.exchange("/late").await;
    assert_eq!(record["reason"], "upstream_refused");
    assert!(
        record["duration_ms"].as_f64().unwrap() >= 50.0,
        "it was not held: {record}"
    );
    sidecar.signal(Signal::TERM);
    let ended = sidecar.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn a_panic_costs_its_exchange_alone_and_is_told_and_counted() {
    let app = crate::support::hello("hi").await;
    let (ca, mut secret) = (crate::support::Ca::new(), crate::support::Secret::empty());
    let leaf = ca.leaf();
    secret.swap(&leaf);
    let mut command = running();
    command
        .env("PORTCULLIS_TEST_PANIC_AT", "/panic")
        .env("PORTCULLIS_WORKERS", "1")
        .args(["--drain-delay", "0", "--target"])
        .arg(app.to_string())
        .arg("--cert-dir")
        .arg(secret.path());
    let sidecar = Sidecar::spawn(command, ca, leaf, secret).await;
    sidecar.ready().await;
    let mut beside = Client::h1(&sidecar).connect().await.unwrap();
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    assert!(h2.exchange(h2_get("/panic"), None).await.is_err());
    // The others of the same connection, of the same worker, and new ones go on.
    assert_eq!(h2.exchange(h2_get("/"), None).await.unwrap().2, b"hi");
    beside
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut beside, b"hi").await.unwrap();
    beside
        .write_all(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, beside.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(
        ended.is_err() && rest.is_empty(),
        "taken for an answer: {rest:?}"
    );
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "hi");
    let is_lost = |record: &Value| record["path"] == "/panic" && record["reason"] == "internal";
    sidecar.record("a record", is_lost).await;
    assert_eq!(sidecar.metric("portcullis_panics_total").await, 2);
    eventually("it is told", async || {
        let log = sidecar.log();
        (log.matches("a test wants this panic").count() == 2).then_some(())
    })
    .await;
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code, Some(0));
}

#[tokio::test]
async fn requests_over_the_limit_are_told_when_to_come_back_and_tunnels_do_not_count() {
    let go_on = Arc::new(Notify::new());
    let script = Arc::clone(&go_on);
    let app = App::scripted(move |mut talk| {
        let go_on = Arc::clone(&script);
        async move {
            while let Some(head) = talk.head().await? {
                if head.contains("/chat") {
                    talk.say(AGREED).await?;
                    talk.stream.read_to_end(&mut Vec::new()).await?;
                    return Ok(());
                }
                if head.contains("/slow") {
                    go_on.notified().await;
                }
                talk.answer("200 OK", b"x").await?;
            }
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--max-requests", "1"]).await;
    let mut chat = Client::h1(&sidecar).connect().await.unwrap();
    chat.write_all(ASKS).await.unwrap();
    read_until(&mut chat, b"\r\n\r\n").await.unwrap();
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let slow = tokio::spawn(async move { h2.exchange(h2_get("/slow"), None).await });
    eventually("it is in flight", async || {
        (app.heads().len() == 2).then_some(())
    })
    .await;
    for number in 0..3 {
        let answer = Client::h1(&sidecar).get(&format!("/more/{number}")).await;
        assert_eq!(
            (answer.status, answer.field("retry-after")),
            (503, Some("1"))
        );
        let record = sidecar.exchange(&format!("/more/{number}")).await;
        assert_eq!(
            (&record["reason"], &record["closed_by"]),
            (&json!("overloaded"), &json!("proxy"))
        );
    }
    go_on.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().0, 200);
    eventually("there is room again", async || {
        (Client::h1(&sidecar).get("/again").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(
        app.heads()
            .iter()
            .filter(|head| head.contains("/more"))
            .count(),
        0
    );
    tokio::time::timeout(Duration::from_secs(60), chat.shutdown())
        .await
        .unwrap()
        .unwrap();
}
