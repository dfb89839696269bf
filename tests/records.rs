use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::support::{App, Client, Sidecar, eventually, hello, read_answer};

#[tokio::test]
async fn a_record_says_what_happened() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = format!(
        "POST /p%20q?token=secret HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test/1\r\nReferer: http://r.example/x?key=secret\r\n\
         Authorization: Bearer secret\r\nCookie: s=secret\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\nContent-Length: 5\r\n\r\nhello"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_answer(&mut stream).await.unwrap();
    let record = sidecar.exchange("/p%20q").await;
    for (field, value) in [
        ("kind", Value::from("exchange")),
        ("service", "under-test".into()),
        ("method", "POST".into()),
        ("host", "shop.example".into()),
        ("status", 200.into()),
        ("reason", "".into()),
        ("bytes_in", 5.into()),
        ("bytes_out", answer.body.len().into()),
        ("client", "127.0.0.1".into()),
        ("http", "1.1".into()),
        ("tls", "1.3".into()),
        ("alpn", "http/1.1".into()),
        ("sni", "localhost".into()),
        ("resumed", false.into()),
        ("generation", 1.into()),
        ("retries", 0.into()),
        ("user_agent", "test/1".into()),
        ("referer", "http://r.example/x".into()),
        ("trace_id", trace.into()),
        ("target", app.to_string().into()),
        ("upstream", app.address.to_string().into()),
    ] {
        assert_eq!(record[field], value, "{field} in {record}");
    }
    assert_eq!(
        record["client_port"],
        stream.get_ref().0.local_addr().unwrap().port()
    );
    assert!(record["time"].as_str().unwrap().ends_with('Z'));
    for field in [
        "duration_ms",
        "handshake_ms",
        "queue_ms",
        "connect_ms",
        "first_byte_ms",
        "body_ms",
        "upstream_ms",
    ] {
        assert!(
            record[field].as_f64().is_some_and(|ms| ms >= 0.0),
            "{field} in {record}"
        );
    }
    assert!(!record.to_string().contains("secret"));
    // The application got the id that stands in the record.
    let seen = answer.text().to_ascii_lowercase();
    assert!(
        seen.contains(&format!(
            "x-request-id: {}",
            record["request_id"].as_str().unwrap()
        )),
        "{seen}"
    );
}

#[tokio::test]
async fn no_byte_from_a_client_can_break_a_line() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /inject HTTP/1.1\r\nHost: a\r\nUser-Agent: \"}\\{\"kind\":\"forged\"} \xff\xfe\xc2\x9b tab\tend\r\n\r\n")
        .await
        .unwrap();
    read_answer(&mut stream).await.unwrap();
    // `exchange` parses every line on stdout.
    let record = sidecar.exchange("/inject").await;
    let agent = record["user_agent"].as_str().unwrap();
    assert!(
        agent.starts_with("\"}\\{\"kind\":\"forged\"}") && agent.ends_with("tab\tend"),
        "{agent:?}"
    );
    assert!(
        sidecar
            .records()
            .iter()
            .all(|record| record["kind"] != "forged")
    );
}

#[tokio::test]
async fn a_stalled_reader_of_stdout_stops_neither_requests_nor_probes_nor_signals() {
    let app = hello("hi").await;
    let mut sidecar = Sidecar::start(&app, &["--log-level", "info"]).await;
    sidecar.stop_reading_stdout();
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    // Far more lines than a pipe holds.
    for _ in 0..1000 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read_answer(&mut stream).await.unwrap().status, 200);
    }
    assert_eq!(sidecar.probe("/livez").await.status, 200);
    sidecar.signal(rustix::process::Signal::TERM);
    let ended = sidecar.ended().await;
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.stderr.contains("records were not written"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn credentials_in_an_authority_are_not_written() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for request in [
        "GET http://u:hidden@a/one HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /two HTTP/1.1\r\nHost: u:hidden@a\r\n\r\n",
        "GET /three HTTP/1.1\r\nHost: a\r\nReferer: https://u:hidden@b:1/x@y?z\r\nConnection: close\r\n\r\n",
    ] {
        Client::h1(&sidecar).send(request).await;
    }
    let record = sidecar.exchange("/three").await;
    assert_eq!(record["referer"], "https://b:1/x@y");
    assert_eq!(sidecar.exchange("/two").await["host"], "a");
    assert_eq!(sidecar.exchange("/one").await["host"], "a");
    let all = sidecar.stdout_text() + &sidecar.admin("/logs").await.text();
    assert!(!all.contains("hidden"), "{all}");
}

#[tokio::test]
async fn a_client_that_sends_slowly_is_not_counted_as_a_slow_application() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let head = b"POST /slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na";
    stream.write_all(head).await.unwrap();
    eventually("the application has the head", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    let slowness = Duration::from_millis(100);
    tokio::time::sleep(slowness).await;
    stream.write_all(b"b").await.unwrap();
    read_answer(&mut stream).await.unwrap();
    let record = sidecar.exchange("/slowly").await;
    let [took, upstream] =
        ["duration_ms", "upstream_ms"].map(|name| record[name].as_f64().unwrap());
    assert!(took - upstream >= 100.0, "{record}");
}
