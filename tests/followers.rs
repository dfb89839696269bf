use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::{App, Client, H2, PATIENCE, Sidecar, eventually, h2_get, hello};

/// The lines of a stream that the admin plane sends.
struct Stream(Lines<BufReader<TcpStream>>);

impl Stream {
    async fn open(sidecar: &Sidecar, path: &str, accept: &str) -> Self {
        let mut stream = TcpStream::connect(sidecar.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut lines = Self(BufReader::new(stream).lines());
        assert_eq!(lines.next().await, "HTTP/1.1 200 OK");
        lines
    }

    async fn next(&mut self) -> String {
        let line = timeout(PATIENCE, self.0.next_line()).await;
        line.expect("a line in time").unwrap().expect("no end")
    }

    /// The next line that begins so, without that.
    async fn after(&mut self, start: &str) -> String {
        loop {
            if let Some(rest) = self.next().await.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    async fn record(&mut self, start: &str) -> Value {
        let rest = self.after(start).await;
        serde_json::from_str(&format!("{{\"kind\"{rest}")).unwrap()
    }
}

#[tokio::test]
async fn a_follower_sees_what_was_and_what_comes() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let client = Client::h1(&sidecar);
    client.get("/old").await;
    client.get("/other").await;
    let path = "/logs?follow=true&limit=10&path=/old";
    let mut lines = Stream::open(&sidecar, path, "*/*").await;
    let mut events = Stream::open(&sidecar, path, "text/event-stream").await;
    for path in ["/old", "/old/and/new"] {
        let line = lines.record("{\"kind\"").await;
        assert_eq!(line["path"], path);
        let id = events.after("id: ").await;
        let event = events.record("data: {\"kind\"").await;
        assert_eq!((&event["path"], &event["id"]), (&path.into(), &id.into()));
        client.get("/neither").await;
        client.get("/old/and/new").await;
    }
}

#[tokio::test]
async fn a_failure_stays_when_many_successes_have_passed() {
    let app = App::failing_at("/fail", "502 Oh").await;
    let sidecar = Sidecar::start(&app, &["--ring", "20"]).await;
    let client = Client::h1(&sidecar);
    client.get("/fail").await;
    for _ in 0..100 {
        client.get("/good").await;
        client.send("GET / HTTP/1.1\r\n\r\n").await;
    }
    let all = sidecar.admin("/logs").await.json();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 20);
    let count = |name: &str, value: Value| all.iter().filter(|r| r[name] == value).count();
    assert_eq!(count("path", "/fail".into()), 1);
    assert_eq!(
        count("reason", "bad_host".into()),
        10 - count("kind", "audit".into()) - 1
    );
}

#[tokio::test]
async fn what_is_open_can_be_asked_for() {
    let go_on = Arc::new(Notify::new());
    let script = Arc::clone(&go_on);
    let app = App::scripted(move |mut talk| {
        let go_on = Arc::clone(&script);
        async move {
            while talk.head().await?.is_some() {
                go_on.notified().await;
                talk.answer("200 OK", b"x").await?;
            }
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--redact", "secret"]).await;
    let h2: H2 = Client::new(&sidecar, &["h2"]).h2().await;
    let (answer, _) = h2.begin(h2_get("/waits/secret?token=x"), true).await;
    // The list begins with the oldest.
    eventually("it is open", async || {
        let view = sidecar.admin("/inflight").await.json();
        (view["entries"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    let mut uploading = Client::h1(&sidecar).connect().await.unwrap();
    uploading
        .write_all(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await
        .unwrap();
    let entries = eventually("both are open", async || {
        let view = sidecar.admin("/inflight").await.json();
        let entries = view["entries"].as_array().unwrap().clone();
        let is_waiting = |for_whom: &str| entries.iter().any(|e| e["waiting_for"] == for_whom);
        (entries.len() == 2 && is_waiting("client") && is_waiting("upstream")).then_some(entries)
    })
    .await;
    let waiting = &entries[0];
    for (field, wanted) in [
        ("kind", "exchange"),
        ("method", "GET"),
        ("path", "/waits/[redacted]"),
        ("http", "2"),
        ("client", "127.0.0.1"),
        ("waiting_for", "upstream"),
    ] {
        assert_eq!(waiting[field], wanted, "{field} of {waiting}");
    }
    assert_eq!(entries[1]["path"], "/upload");
    assert_eq!(entries[1]["waiting_for"], "client");
    assert_eq!(sidecar.metric("portcullis_requests_in_flight").await, 2);
    uploading.write_all(b" and more").await.unwrap();
    go_on.notify_one();
    go_on.notify_one();
    answer.await.unwrap();
    eventually("nothing is open", async || {
        let view = sidecar.admin("/inflight").await.json();
        (view["total"] == 0 && view["workers_answered"] == 2).then_some(())
    })
    .await;
}
