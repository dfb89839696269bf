//! The client commands that change a sidecar, and the ways to a guarded admin plane: every command against a real process,
//! with its exit code.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::operator::{command, ended};
use crate::support::{App, Ca, Client, Secret, Sidecar, eventually, hello, portcullis};

/// What a command says when it is done.
async fn done(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let ended = ended(command(sidecar, arguments)).await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    ended.stdout
}

/// Why a command is refused.
async fn refused(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let ended = ended(command(sidecar, arguments)).await;
    let outcome = (ended.code, &*ended.stdout);
    assert_eq!(outcome, (Some(1), ""), "{arguments:?}: {}", ended.stderr);
    ended.stderr
}

async fn answers(sidecar: &Sidecar, text: &str) {
    eventually(text, async || {
        (Client::h1(sidecar).get("/").await.text() == text).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_target_on_trial_is_kept_when_it_is_confirmed() {
    let (first, second) = (hello("first").await, hello("second").await);
    let sidecar = Sidecar::start(&first, &[]).await;
    let url = second.to_string();
    let text = done(&sidecar, &["target", "set", &url, "--confirm-within", "1h"]).await;
    assert!(text.contains("s left to confirm it"), "{text}");
    let status = done(&sidecar, &["status"]).await;
    assert!(
        status.contains("trial  ") && status.contains("drift"),
        "{status}"
    );
    let text = done(&sidecar, &["target", "confirm"]).await;
    assert!(
        text.contains("confirmed") && !text.contains("trial"),
        "{text}"
    );
    answers(&sidecar, "second").await;
    let why = refused(&sidecar, &["target", "confirm"]).await;
    assert!(why.starts_with("portcullis: "), "{why}");
}

#[tokio::test]
async fn a_target_on_trial_goes_when_nobody_confirms_it() {
    let (first, second) = (hello("first").await, hello("second").await);
    let sidecar = Sidecar::start(&first, &[]).await;
    let url = second.to_string();
    done(&sidecar, &["target", "set", &url, "--confirm-within", "1s"]).await;
    answers(&sidecar, "first").await;
    let text = done(&sidecar, &["target"]).await;
    assert!(
        text.contains("rolled back") && text.contains("unconfirmed"),
        "{text}"
    );
}

#[tokio::test]
async fn a_target_is_reverted_and_the_tag_of_another_state_refused() {
    let (first, second) = (hello("first").await, hello("second").await);
    let sidecar = Sidecar::start(&first, &[]).await;
    let url = second.to_string();
    let before = done(&sidecar, &["target", "--output", "json"]).await;
    let before: Value = serde_json::from_str(&before).unwrap();
    let tag = before["etag"].as_str().unwrap();
    done(&sidecar, &["target", "set", &url, "--if-match", tag]).await;
    answers(&sidecar, "second").await;
    refused(
        &sidecar,
        &["target", "set", &first.to_string(), "--if-match", tag],
    )
    .await;
    let text = done(&sidecar, &["target", "revert"]).await;
    assert!(
        text.contains("the configured target") && !text.contains("drift"),
        "{text}"
    );
    answers(&sidecar, "first").await;
}

#[tokio::test]
async fn a_dry_run_and_a_probe_that_fails_change_nothing() {
    let (first, second) = (hello("first").await, hello("second").await);
    let sidecar = Sidecar::start(&first, &[]).await;
    let url = second.to_string();
    let text = done(&sidecar, &["target", "set", &url, "--dry-run"]).await;
    assert!(text.contains("this was a dry run"), "{text}");
    let probe = ["--probe-path", "/healthz", "--probe-status", "204"];
    let set = [&["target", "set", &url][..], &probe].concat();
    refused(&sidecar, &set).await;
    answers(&sidecar, "first").await;
}

#[tokio::test]
async fn log_level_is_shown_and_changed() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--log-level", "portcullis=info"]).await;
    assert_eq!(
        done(&sidecar, &["log-level"]).await,
        "log level    portcullis=info\n"
    );
    let text = done(&sidecar, &["log-level", "portcullis=debug"]).await;
    assert!(
        text.contains("portcullis=debug  (configured is portcullis=info"),
        "{text}"
    );
    refused(&sidecar, &["log-level", "portcullis=loud"]).await;
    let json = done(&sidecar, &["log-level", "--output", "json"]).await;
    let level: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&level["filter"], &level["configured"]),
        (&"portcullis=debug".into(), &"portcullis=info".into())
    );
}

#[tokio::test]
async fn drain_waits_until_nothing_is_in_flight_and_leaves_the_process() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    answers(&sidecar, "hi").await;
    let text = done(&sidecar, &["drain", "--wait"]).await;
    assert!(text.ends_with("drained\n"), "{text}");
    let why = refused(&sidecar, &["status", "--ready"]).await;
    assert!(why.contains("not ready"), "{why}");
    let json = done(&sidecar, &["drain", "--wait", "--output", "json"]).await;
    assert_eq!(json, "{\"phase\":\"stopped\"}\n");
    sidecar.signal(rustix::process::Signal::TERM);
    assert_eq!(sidecar.ended().await.code, Some(0));
}

#[tokio::test]
async fn a_drain_that_takes_too_long_ends_the_command_with_4() {
    // It never answers.
    let (app, _ends) = App::listening().await;
    let sidecar = Sidecar::start(&app, &["--drain-timeout", "1h"]).await;
    let client = Client::h1(&sidecar);
    let waiting = tokio::spawn(async move { client.get("/").await });
    eventually("it is in flight", async || {
        let counts = sidecar.admin("/status").await.json()["counts"].clone();
        (counts["in_flight"] == 1).then_some(())
    })
    .await;
    let late = ended(command(&sidecar, &["drain", "--wait", "--timeout", "1s"])).await;
    assert_eq!(late.code, Some(4), "{}", late.stderr);
    assert!(
        late.stderr.contains("1 request is in flight"),
        "{}",
        late.stderr
    );
    waiting.abort();
}

#[tokio::test]
async fn a_token_opens_what_is_closed_without_and_probes_need_none() {
    let app = hello("hi").await;
    let tokens = tempfile::NamedTempFile::new().unwrap();
    let (read, write) = ("r".repeat(40), "w".repeat(40));
    fs::write(&tokens, format!("mon read {read}\nops write {write}\n")).unwrap();
    let path = tokens.path().to_str().unwrap();
    let sidecar = Sidecar::start(&app, &["--admin-token-file", path]).await;
    let why = refused(&sidecar, &["status"]).await;
    assert!(why.contains("--admin-token-file FILE"), "{why}");
    assert_eq!(done(&sidecar, &["status", "--ready"]).await, "ready\n");
    done(&sidecar, &["status", "--admin-token-file", path]).await;
    // As it is found inside the pod.
    let mut found = command(&sidecar, &["certs", "reload"]);
    found.env("PORTCULLIS_ADMIN_TOKEN_FILE", path);
    assert_eq!(ended(found).await.code, Some(0));

    let reader = tempfile::NamedTempFile::new().unwrap();
    fs::write(&reader, &read).unwrap();
    let reader = reader.path().to_str().unwrap();
    done(&sidecar, &["certs", "--admin-token-file", reader]).await;
    let why = refused(&sidecar, &["certs", "reload", "--admin-token-file", reader]).await;
    for token in [&read, &write] {
        assert!(!why.contains(token.as_str()), "{why}");
        assert!(!sidecar.log().contains(token.as_str()));
    }
}

/// Killed on drop.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_unix_socket_is_asked_like_a_port() {
    let app = hello("hi").await;
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("admin.sock").display());
    let secret = Secret::holding(&Ca::new().leaf());
    let mut run = portcullis();
    run.args(["run", "--listen", "127.0.0.1:0", "--probe", "127.0.0.1:0"])
        .args(["--admin", &socket, "--target", &app.to_string()])
        .arg("--cert-dir")
        .arg(secret.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _running = Running(run.spawn().unwrap());
    let asked = async |arguments: &[&str]| {
        let mut command = portcullis();
        // As it is found inside the pod.
        command.args(arguments).env("PORTCULLIS_ADMIN", &socket);
        ended(command).await
    };
    eventually("it is ready", async || {
        (asked(&["status", "--ready"]).await.code == Some(0)).then_some(())
    })
    .await;
    for arguments in [
        &["status"][..],
        &["target"],
        &["logs"],
        &["certs", "reload"],
    ] {
        let ended = asked(arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn tls_on_the_admin_plane_is_verified() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--admin-tls"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, other) = (
        file("ca.crt", &sidecar.ca.pem),
        file("other.crt", &Ca::new().pem),
    );
    let admin = format!("https://{}", sidecar.admin);
    for (ca, code) in [(&ca, 0), (&other, 3)] {
        let mut command = portcullis();
        command.args(["status", "--admin", &admin, "--admin-ca", ca]);
        let ended = ended(command).await;
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    }
    // Inside the pod, where the sidecar's own variables say that it is TLS.
    let mut inside = portcullis();
    inside
        .env("PORTCULLIS_ADMIN_TLS", "true")
        .env("PORTCULLIS_ADMIN", sidecar.admin.to_string())
        .args(["status", "--ready", "--admin-ca", &ca]);
    assert_eq!(ended(inside).await.code, Some(0));
}

#[tokio::test]
async fn a_drain_that_had_to_cut_is_no_success() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        std::future::pending().await
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--drain-delay", "0s", "--drain-timeout", "1s"]).await;
    let client = Client::h1(&sidecar);
    let hanging = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = client.connect().await.unwrap();
        stream
            .write_all(b"GET /hangs HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    eventually("it is in flight", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    let drained = ended(command(&sidecar, &["drain", "--wait"])).await;
    assert_eq!(drained.code, Some(1), "{}", drained.stdout);
    assert!(
        drained.stderr.contains("drained, but 1 connection was cut"),
        "{}",
        drained.stderr
    );
    let status = sidecar.admin("/status").await.json();
    assert_eq!(
        (&status["phase"], &status["cut"]),
        (&"stopped".into(), &1.into())
    );
    hanging.await.unwrap();
}
