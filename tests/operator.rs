use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::support::{Client, Ended, Sidecar, eventually, hello, portcullis};

fn command(sidecar: &Sidecar, arguments: &[&str]) -> Command {
    let mut command = portcullis();
    command
        .args(arguments)
        .arg("--admin")
        .arg(sidecar.admin.to_string());
    command
}

async fn ended(command: Command) -> Ended {
    tokio::task::spawn_blocking(|| Ended::of(command))
        .await
        .unwrap()
}

#[tokio::test]
async fn logs_shows_records_as_a_log_reads() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let client = Client::h1(&sidecar);
    for path in ["/one", "/two", "/three"] {
        client.get(path).await;
    }
    let shown = ended(command(&sidecar, &["logs", "--kind", "exchange"])).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let place = |path: &str| shown.stdout.find(path).unwrap();
    assert!(
        place("/one") < place("/two") && place("/two") < place("/three"),
        "{}",
        shown.stdout
    );
    let json = ended(command(
        &sidecar,
        &["logs", "--path", "/two", "--output", "json"],
    ))
    .await;
    let record: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(record["path"], "/two");
    let wrong = ended(command(&sidecar, &["logs", "--status", "6xx"])).await;
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("status=6xx"), "{}", wrong.stderr);
}

#[tokio::test]
async fn logs_goes_on_until_the_sidecar_ends() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let client = Client::h1(&sidecar);
    client.get("/before").await;
    let shown = tempfile::NamedTempFile::new().unwrap();
    let mut following = command(&sidecar, &["logs", "-f", "--kind", "exchange"])
        .stdout(shown.reopen().unwrap())
        .spawn()
        .unwrap();
    for path in ["/before", "/while"] {
        eventually("it is shown", async || {
            let text = std::fs::read_to_string(shown.path()).unwrap();
            text.contains(path).then_some(())
        })
        .await;
        // It follows by now.
        client.get("/while").await;
    }
    sidecar.signal(rustix::process::Signal::TERM);
    assert_eq!(sidecar.ended().await.code, Some(0));
    let status = eventually("it ends, too", async || following.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn status_tells_the_numbers_that_matter_and_whether_it_is_ready() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let client = Client::h1(&sidecar);
    client.get("/").await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    let shown = ended(command(&sidecar, &["status"])).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    for part in [
        "under-test",
        "ready",
        &app.to_string(),
        "1 failed",
        "bad_host 1",
        "p99",
        "nothing dropped",
    ] {
        assert!(
            shown.stdout.contains(part),
            "{part} is not in\n{}",
            shown.stdout
        );
    }
    let ready = ended(command(&sidecar, &["status", "--ready"])).await;
    assert_eq!((ready.code, &*ready.stdout), (Some(0), "ready\n"));
    let json = ended(command(&sidecar, &["status", "--output", "json"])).await;
    let status: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(status["counts"]["requests"], 2);
    assert!(status["counts"]["latency_ms"]["p50"].is_number());
}

#[tokio::test]
async fn a_sidecar_without_a_certificate_is_not_ready_and_says_why() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start_with(&app, &[], |secret| {
        std::fs::remove_file(secret.file("tls.crt")).unwrap();
    })
    .await;
    let ready = ended(command(&sidecar, &["status", "--ready"])).await;
    assert_eq!(ready.code, Some(1));
    assert!(ready.stderr.contains("tls.crt"), "{}", ready.stderr);
}

#[tokio::test]
async fn where_nobody_listens_there_is_no_admin_plane() {
    // Bound and not listening on: nobody else can take the port meanwhile.
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let mut status = portcullis();
    status.args(["status", "--admin", &closed.to_string()]);
    let status = ended(status).await;
    assert_eq!(status.code, Some(3), "{}", status.stderr);
    let mut odd = portcullis();
    odd.args(["logs", "--admin", "unix:/run/admin"]);
    assert_eq!(ended(odd).await.code, Some(2));
}
