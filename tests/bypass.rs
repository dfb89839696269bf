use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};

use crate::support::{App, Ended, Sidecar, eventually, hello, running};

/// None where the machine has no such addresses.
async fn on(address: &str) -> Option<App> {
    TcpListener::bind(address).await.ok().map(answering)
}

fn answering(listener: TcpListener) -> App {
    App::on(listener, |mut talk| async move {
        while talk.head().await?.is_some() {
            talk.answer("200 OK", b"hi").await?;
        }
        Ok(())
    })
}

/// One of several that share a port.
fn sharing(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(16).unwrap()
}

/// What `/status` says of it, once that has been looked at.
async fn bypass(sidecar: &Sidecar) -> Value {
    eventually("it has looked", async || {
        let status = sidecar.admin("/status").await.json();
        status.get("bypass").cloned()
    })
    .await
}

async fn metric(sidecar: &Sidecar) -> Option<f64> {
    let text = sidecar.probe("/metrics").await.text();
    let value = |line: &str| {
        let value = line.strip_prefix("portcullis_plaintext_bypass ")?;
        value.parse().ok()
    };
    text.lines().find_map(value)
}

async fn degraded(sidecar: &Sidecar) -> String {
    let status = sidecar.admin("/status").await.json();
    status["degraded"].to_string()
}

async fn logged(sidecar: &Sidecar, words: &str) {
    eventually(words, async || sidecar.log().contains(words).then_some(())).await;
}

#[tokio::test]
async fn an_application_on_all_addresses_is_found_and_named_with_what_to_do() {
    for any in ["0.0.0.0:0", "[::]:0"] {
        let Some(app) = on(any).await else { continue };
        let port = app.address.port();
        let sidecar = Sidecar::start(format!("http://localhost:{port}"), &[]).await;
        let shown = app.address.to_string();
        assert_eq!(
            bypass(&sidecar).await,
            json!({ "port": port, "reachable_at": [shown] })
        );
        assert_eq!(metric(&sidecar).await, Some(1.0));
        let degraded = degraded(&sidecar).await;
        for words in [
            &*shown,
            "bind the application to 127.0.0.1",
            "NetworkPolicy",
        ] {
            assert!(degraded.contains(words), "{words}: {degraded}");
            logged(&sidecar, words).await;
        }
        let log = sidecar.log();
        assert_eq!(log.matches("can be reached past").count(), 1, "{log}");
        // Without the flag that is no reason not to serve.
        assert_eq!(sidecar.probe("/readyz").await.status, 200);
    }
}

#[tokio::test]
async fn an_application_on_the_loopback_is_as_it_should_be() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--require-loopback-app"]).await;
    assert_eq!(
        bypass(&sidecar).await,
        json!({ "port": app.address.port(), "reachable_at": [] })
    );
    assert_eq!(metric(&sidecar).await, Some(0.0));
    assert_eq!(degraded(&sidecar).await, "[]");
    assert!(!sidecar.log().contains("WARN"), "{}", sidecar.log());
}

#[tokio::test]
async fn with_the_flag_a_bypass_is_not_ready_and_comes_and_goes() {
    let app = answering(sharing(([127, 0, 0, 1], 0).into()));
    let sidecar = Sidecar::start(&app, &["--require-loopback-app"]).await;
    let open = sharing(([0, 0, 0, 0], app.address.port()).into());
    // Somebody who has just changed something need not wait for the next look.
    sidecar.signal(Signal::HUP);
    let unready = eventually("it is found", async || {
        let answer = sidecar.probe("/readyz").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    for words in [
        &format!("0.0.0.0:{}", app.address.port()),
        "--require-loopback-app",
    ] {
        assert!(unready.text().contains(words), "{}", unready.text());
    }
    assert_eq!(sidecar.admin("/status").await.json()["ready"], false);
    drop(open);
    sidecar.ready().await;
    logged(&sidecar, "any more").await;
}

#[tokio::test]
async fn it_is_the_target_in_force_that_is_looked_at() {
    let (app, open) = (hello("hi").await, on("0.0.0.0:0").await.unwrap());
    let sidecar = Sidecar::start(&app, &["--require-loopback-app"]).await;
    let port = open.address.port();
    let change = format!("{{\"url\":\"http://127.0.0.1:{port}\"}}");
    assert_eq!(sidecar.put_target(&change).await.status, 200);
    // What has not been looked at is not proven.
    assert_eq!(sidecar.probe("/readyz").await.status, 503);
    let looked = eventually("the new one is looked at", async || {
        let status = sidecar.admin("/status").await.json();
        status.get("bypass").cloned()
    })
    .await;
    assert_eq!(looked["port"], port);
    assert_eq!(metric(&sidecar).await, Some(1.0));
    let change = format!("{{\"url\":\"{app}\"}}");
    assert_eq!(sidecar.put_target(&change).await.status, 200);
    sidecar.ready().await;
}

#[tokio::test]
async fn a_unix_socket_is_out_of_reach_and_a_remote_target_cannot_be_kept_so() {
    let flag = ["--require-loopback-app"];
    let sidecar = Sidecar::start("unix:/run/nobody.sock", &flag).await;
    assert_eq!(metric(&sidecar).await, Some(0.0));
    assert_eq!(sidecar.admin("/status").await.json().get("bypass"), None);
    let mut remote = running();
    remote.args(["--allow-remote-target", "--target", "http://10.1.2.3:80"]);
    remote.args(flag);
    let ended = tokio::task::spawn_blocking(|| Ended::of(remote));
    let ended = ended.await.unwrap();
    assert_eq!(ended.code, Some(2));
    assert!(
        ended
            .stderr
            .contains("--require-loopback-app with --target"),
        "{}",
        ended.stderr
    );
}
