use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::support::{App, Client, Sidecar, eventually, hello, send};

#[tokio::test]
async fn health_and_status_tell_what_is_going_on() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(
            (
                sidecar.admin(path).await.status,
                sidecar.probe(path).await.status
            ),
            (200, 200),
            "{path}"
        );
    }
    Client::h1(&sidecar).get("/").await;
    let status = sidecar.admin("/status").await.json();
    assert_eq!(status["phase"], "ready");
    assert_eq!(status["service"], "under-test");
    assert_eq!(status["counts"]["requests"], 1);
    assert_eq!(status["target"]["url"], app.to_string());
    assert_eq!(
        status["certificate"]["chain"][0]["names"][0],
        "DNS:localhost"
    );
    // The probe plane only reads, and only health and metrics.
    for path in ["/status", "/logs", "/target", "/certs"] {
        assert_eq!(sidecar.probe(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let json = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), 404),
        ("DELETE /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), 405),
        ("GET /logs?limit=many HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("GET /logs?colour=red HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("GET /logs?status=teapot HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), 400),
        ("GET /logs?since=yesterday HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), 400),
        (format!("PUT /target HTTP/1.1\r\n{json}Content-Length: 1\r\n\r\n{{"), 400),
        (format!("PUT /target HTTP/1.1\r\n{json}Content-Length: 14\r\n\r\n{{\"uri\":\"http\"}}"), 400),
        (format!("PUT /target HTTP/1.1\r\n{json}Content-Length: 100000\r\n\r\n{}", "x".repeat(100_000)), 413),
        ("PUT /target HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}".to_owned(), 415),
        ("GET /logs HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_owned(), 403),
        ("GET /logs HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n".to_owned(), 403),
        ("POST /certs/reload HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(), 403),
    ] {
        let answer = send(sidecar.admin, &request).await;
        assert_eq!(answer.status, status, "{request:.80}: {}", answer.text());
        assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{request:.80}");
        assert_eq!(answer.json()["status"], status);
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

#[tokio::test]
async fn the_latest_requests_can_be_asked_for_and_filtered() {
    let app = App::failing_at("/broken", "500 Internal Server Error").await;
    let sidecar = Sidecar::start(&app, &["--ring", "5"]).await;
    // The last thing it does on its own, so that nothing comes in between.
    sidecar
        .record("its look at itself", |record| {
            record["action"] == "certificate_look"
        })
        .await;
    let client = Client::h1(&sidecar);
    for path in ["/a/1", "/a/2?password=secret", "/broken", "/b"] {
        client.get(path).await;
    }
    client
        .send("POST /a/3 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await;
    let paths = async |query: &str| -> Vec<String> {
        let records = sidecar.admin(&format!("/logs{query}")).await.json();
        records
            .as_array()
            .unwrap()
            .iter()
            .map(|record| record["path"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(paths("").await, ["/a/3", "/b", "/broken", "/a/2", "/a/1"]);
    assert_eq!(paths("?limit=2").await, ["/a/3", "/b"]);
    assert_eq!(paths("?status=500").await, ["/broken"]);
    assert_eq!(paths("?status=5xx").await, ["/broken"]);
    assert_eq!(paths("?status=2xx&limit=1").await, ["/a/3"]);
    assert_eq!(paths("?method=post").await, ["/a/3"]);
    assert_eq!(paths("?path=/a/&method=GET").await, ["/a/2", "/a/1"]);
    let all = sidecar.admin("/logs").await;
    assert!(!all.text().contains("secret"));
    let broken = all.json()[2].clone();
    assert_eq!(
        paths(&format!("?since={}", broken["id"].as_str().unwrap())).await,
        ["/a/3", "/b"]
    );
    assert_eq!(
        paths(&format!("?since={}", broken["time"].as_str().unwrap())).await,
        ["/a/3", "/b", "/broken"]
    );
    // The oldest make room.
    client.get("/newest").await;
    assert_eq!(
        paths("").await,
        ["/newest", "/a/3", "/b", "/broken", "/a/2"]
    );
    let lines = send(sidecar.admin, "GET /logs HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\nConnection: close\r\n\r\n").await;
    assert_eq!(
        (lines.field("content-type"), lines.text().lines().count()),
        (Some("application/x-ndjson"), 5)
    );
}

#[tokio::test]
async fn metrics_come_in_both_formats() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    Client::h1(&sidecar).get("/").await;
    Client::h1(&sidecar)
        .send("BREW / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let text = sidecar.probe("/metrics").await;
    assert_eq!(
        text.field("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for line in [
        "# TYPE portcullis_requests_total counter",
        "portcullis_requests_total{method=\"GET\",code=\"200\",reason=\"\"} 1",
        "portcullis_requests_total{method=\"other\",code=\"200\",reason=\"\"} 1",
        "portcullis_request_duration_seconds_bucket{le=\"+Inf\"} 2",
        "portcullis_handshakes_total{result=\"ok\",reason=\"\",version=\"1.3\",resumed=\"false\"} 2",
        "portcullis_certificate_generation 1",
        "portcullis_response_bytes_total 4",
    ] {
        assert!(
            text.text().lines().any(|found| found.starts_with(line)),
            "{line} is missing in\n{}",
            text.text()
        );
    }
    assert!(!text.text().contains("# EOF"));
    let open = send(sidecar.probe, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text; version=1.0.0\r\nConnection: close\r\n\r\n").await;
    assert!(
        open.field("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(
        open.text().contains("# TYPE portcullis_requests counter")
            && open.text().ends_with("# EOF\n")
    );
}

#[tokio::test]
async fn silent_clients_lock_nobody_out_of_either_plane() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        for plane in [sidecar.admin, sidecar.probe] {
            let mut stream = TcpStream::connect(plane).await.unwrap();
            // The oldest give way, which may be before this write.
            let _ = stream.write_all(b"GET /status HTTP/1.1\r\nHo").await;
            silent.push(stream);
        }
    }
    for _ in 0..3 {
        assert_eq!(
            (
                sidecar.probe("/livez").await.status,
                sidecar.admin("/livez").await.status
            ),
            (200, 200)
        );
    }
    assert_eq!(Client::h1(&sidecar).get("/").await.status, 200);
}

#[tokio::test]
async fn since_shows_a_slow_exchange_that_was_closed_later() {
    let go_on = Arc::new(Notify::new());
    let script = Arc::clone(&go_on);
    let app = App::scripted(move |mut talk| {
        let go_on = Arc::clone(&script);
        async move {
            while let Some(head) = talk.head().await? {
                if head.contains("/slow") {
                    go_on.notified().await;
                }
                talk.answer("200 OK", b"x").await?;
            }
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let client = Client::h1(&sidecar);
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.get("/slow").await }
    });
    eventually("it has begun", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    client.get("/fast").await;
    let fast = sidecar.exchange("/fast").await;
    go_on.notify_one();
    slow.await.unwrap();
    let after = sidecar
        .admin(&format!("/logs?since={}", fast["id"].as_str().unwrap()))
        .await
        .json();
    assert_eq!(
        (after.as_array().unwrap().len(), &after[0]["path"]),
        (1, &"/slow".into())
    );
}
