use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

use crate::support::{App, Ca, Client, Sidecar, eventually, hello};

const ASKING: [&str; 2] = ["--app-health", "/healthz?deep=1"];

/// Status and body of `/app`, which are the same on both planes.
async fn health(sidecar: &Sidecar) -> (u16, Value) {
    let (by_probe, by_admin) = (sidecar.probe("/app").await, sidecar.admin("/app").await);
    assert_eq!(by_probe.status, by_admin.status, "{}", by_admin.text());
    (by_probe.status, by_probe.json())
}

#[tokio::test]
async fn an_application_behind_required_client_certificates_keeps_its_probe() {
    let app = hello("hi").await;
    let ca = Ca::new();
    let args = [&ASKING[..], &["--client-auth", "required"]].concat();
    let sidecar = Sidecar::start_beside(&app, &[("ca.crt", &ca.pem)], &args).await;
    Client::h1(&sidecar).is_refused().await;
    let (status, body) = health(&sidecar).await;
    assert_eq!((status, &body["app_status"]), (200, &200.into()), "{body}");
    assert_eq!(body["target"], app.to_string());
    assert_eq!(body["address"], app.address.to_string());
    let head = app.heads()[0].to_ascii_lowercase();
    assert!(head.starts_with("get /healthz?deep=1 http/1.1"), "{head}");
    assert!(
        head.contains(&format!("host: {}\r\n", app.address)),
        "{head}"
    );
    // It is nobody's request: there is no record of it, and it does not count.
    assert_eq!(
        sidecar.admin("/status").await.json()["counts"]["requests"],
        0
    );
    let is_exchange = |record: &Value| record["kind"] == "exchange";
    assert!(!sidecar.records().iter().any(is_exchange));
}

#[tokio::test]
async fn head_will_do_for_a_probe() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &ASKING).await;
    let request = "HEAD /app HTTP/1.1\r\nHost: pod:9902\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(sidecar.probe).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_redirect_is_health_and_an_error_is_not() {
    for (says, status) in [
        ("204 No Content", 200),
        ("302 Found", 200),
        ("404 Not Found", 503),
        ("500 Internal Server Error", 503),
    ] {
        let app = App::failing_at("/", says).await;
        let sidecar = Sidecar::start(&app, &ASKING).await;
        let (found, body) = health(&sidecar).await;
        assert_eq!(found, status, "{says}: {body}");
        if status == 503 {
            assert_eq!(body["reason"], "app_status");
            let detail = body["detail"].as_str().unwrap();
            assert!(
                detail.contains(says) && detail.contains("/healthz?deep=1"),
                "{detail}"
            );
        }
    }
}

#[tokio::test]
async fn a_missing_a_broken_and_a_silent_application_are_told_apart() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.say(b"220 mail.example ESMTP\r\n").await
    })
    .await;
    let sidecar = Sidecar::start(&app, &ASKING).await;
    let (status, body) = health(&sidecar).await;
    assert_eq!((status, &body["reason"]), (503, &"app_unreachable".into()));
    let (silent, _ended) = App::listening().await;
    let change = format!("{{\"url\":\"{silent}\"}}");
    assert_eq!(sidecar.put_target(&change).await.status, 200);
    // Another target is asked anew, and other probes do not wait for it.
    let (late, live) = tokio::join!(sidecar.probe("/app"), sidecar.probe("/livez"));
    assert_eq!(
        (late.status, live.status, &late.json()["reason"]),
        (503, 200, &"app_timeout".into())
    );
    drop(silent);
    let gone = eventually("it is found gone", async || {
        let (status, body) = health(&sidecar).await;
        (body["reason"] == "app_unreachable").then_some((status, body))
    })
    .await;
    assert_eq!(gone.0, 503);
    let detail = gone.1["detail"].as_str().unwrap();
    assert!(detail.contains("does not take connections"), "{detail}");
}

#[tokio::test]
async fn an_application_that_comes_back_is_found_well_again() {
    // Bound and not listening: nobody else can take the port meanwhile.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = closed.local_addr().unwrap();
    let sidecar = Sidecar::start(format!("http://{address}"), &ASKING).await;
    assert_eq!(health(&sidecar).await.0, 503);
    let _app = App::on(closed.listen(16).unwrap(), |mut talk| async move {
        talk.head().await?;
        talk.answer("200 OK", b"").await
    });
    eventually("it is well", async || {
        (health(&sidecar).await.0 == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_probes_is_no_flood_on_the_application() {
    let go_on = Arc::new(Notify::new());
    let script = Arc::clone(&go_on);
    let app = App::scripted(move |mut talk| {
        let go_on = Arc::clone(&script);
        async move {
            talk.head().await?;
            go_on.notified().await;
            // From now on at once.
            go_on.notify_one();
            talk.answer("200 OK", b"").await
        }
    })
    .await;
    let sidecar = Arc::new(Sidecar::start(&app, &ASKING).await);
    let begun = Instant::now();
    // Who asks and hangs up ends no question.
    for _ in 0..30 {
        let hasty = sidecar.probe("/app");
        let _ = tokio::time::timeout(std::time::Duration::from_millis(5), hasty).await;
    }
    eventually("it is asked", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let sidecar = Arc::clone(&sidecar);
        flood.spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..10 {
                statuses.push(sidecar.probe("/app").await.status);
            }
            statuses
        });
    }
    go_on.notify_one();
    let statuses = flood.join_all().await.concat();
    assert_eq!(statuses, [200; 400]);
    // One a second at most, however many ask.
    let asked = app.heads().len() as u64;
    assert!(
        asked <= 2 + begun.elapsed().as_secs(),
        "asked {asked} times"
    );
}

#[tokio::test]
async fn without_the_flag_there_is_nothing_to_ask() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let (status, body) = health(&sidecar).await;
    assert_eq!((status, &body["reason"]), (404, &"not_configured".into()));
    assert!(app.heads().is_empty());
}
