use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};

use crate::support::{App, Ended, Sidecar, eventually, hello, portcullis};

fn doctor(admin: SocketAddr) -> Command {
    let mut command = portcullis();
    command.args(["doctor", "--admin", &admin.to_string()]);
    command
}

async fn ended(command: Command) -> Ended {
    let run = tokio::task::spawn_blocking(|| Ended::of(command));
    run.await.unwrap()
}

/// The exit code, and all findings.
async fn findings(mut command: Command) -> (Option<i32>, Vec<Value>) {
    command.args(["--output", "json"]);
    let ended = ended(command).await;
    let findings = serde_json::from_str(&ended.stdout);
    let findings = findings.unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    (ended.code, findings)
}

/// State and sentence of the worst finding of a check.
fn worst(findings: &[Value], check: &str) -> (String, String) {
    let rank = |finding: &Value| {
        ["ok", "note", "warning", "problem"]
            .iter()
            .position(|state| finding["state"] == *state)
    };
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    let worst = of_check.max_by_key(|finding| rank(finding));
    let worst = worst.unwrap_or_else(|| panic!("no {check} in {findings:?}"));
    let word = |name: &str| worst[name].as_str().unwrap().to_owned();
    (word("state"), word("finding"))
}

#[tokio::test]
async fn a_pod_that_is_well_has_no_problem() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut command = doctor(sidecar.admin);
    command.args(["--grace-period", "60"]);
    let (code, found) = findings(command).await;
    assert_eq!(code, Some(0), "{found:?}");
    for check in [
        "admin plane",
        "sidecar",
        "target",
        "certificate",
        "clock",
        "drain",
        "plain port",
        "application",
        "keep-alive",
    ] {
        assert_eq!(worst(&found, check).0, "ok", "{check}: {found:?}");
    }
    let (_, application) = worst(&found, "application");
    for words in ["200 OK", &app.address.to_string(), "HTTP/1.1"] {
        assert!(application.contains(words), "{application}");
    }
    let mut command = doctor(sidecar.admin);
    command.env("PORTCULLIS_GRACE_PERIOD", "60");
    let shown = ended(command).await;
    assert_eq!(shown.code, Some(0));
    assert!(shown.stdout.contains("within the 60s"), "{}", shown.stdout);
}

#[tokio::test]
async fn a_bypass_is_a_problem_with_its_fix() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let app = App::on(listener, |mut talk| async move {
        talk.head().await?;
        talk.answer("200 OK", b"hi").await
    });
    let port = app.address.port();
    let sidecar = Sidecar::start(format!("http://127.0.0.1:{port}"), &[]).await;
    let shown = ended(doctor(sidecar.admin)).await;
    assert_eq!(shown.code, Some(1), "{}", shown.stdout);
    for words in [
        &format!("at 0.0.0.0:{port}\n"),
        &format!("→ bind the application to 127.0.0.1:{port}"),
        "1 problem",
    ] {
        assert!(shown.stdout.contains(words), "{words}: {}", shown.stdout);
    }
}

#[tokio::test]
async fn without_an_admin_plane_the_rest_is_looked_at() {
    let app = hello("hi").await;
    // Bound and not listening: nobody else can take the port meanwhile.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let mut command = doctor(closed.local_addr().unwrap());
    command.env("TARGET", app.address.to_string());
    command.env("PORTCULLIS_DRAIN_TIMEOUT", "40s");
    command.env("PORTCULLIS_GRACE_PERIOD", "30");
    let (code, found) = findings(command).await;
    assert_eq!(code, Some(1));
    for (check, state) in [
        ("admin plane", "problem"),
        ("certificate", "note"),
        ("configuration", "note"),
        ("drain", "problem"),
        ("plain port", "ok"),
        ("application", "ok"),
    ] {
        assert_eq!(worst(&found, check).0, state, "{check}: {found:?}");
    }
    let mut wrong = portcullis();
    wrong.args(["doctor", "--admin", "nowhere"]);
    assert_eq!(ended(wrong).await.code, Some(2));
}

#[tokio::test]
async fn what_changed_at_run_time_is_a_warning() {
    let (app, other) = (hello("hi").await, hello("other").await);
    let sidecar = Sidecar::start(&app, &[]).await;
    let change = format!("{{\"url\":\"{other}\"}}");
    assert_eq!(sidecar.put_target(&change).await.status, 200);
    let (code, found) = findings(doctor(sidecar.admin)).await;
    assert_eq!(code, Some(0), "{found:?}");
    let (state, words) = worst(&found, "target");
    assert_eq!(state, "warning");
    assert!(
        words.contains(&format!("a restart returns to {app}")),
        "{words}"
    );
    // It is the target in force that is looked at.
    let (_, application) = worst(&found, "application");
    assert!(application.contains(&other.address.to_string()));
}

#[tokio::test]
async fn a_renewal_that_failed_and_an_application_that_fails_are_problems() {
    let app = App::failing_at("/healthz", "500 Internal Server Error").await;
    let mut sidecar = Sidecar::start(&app, &[]).await;
    let certificate = sidecar.leaf.certificate.clone();
    sidecar.secret.swap_files(&certificate, "no key");
    eventually("it is refused", async || {
        let certificates = sidecar.admin("/certs").await.json();
        certificates["last_error"].is_string().then_some(())
    })
    .await;
    let mut command = doctor(sidecar.admin);
    command.args(["--app-health", "/healthz"]);
    let (code, found) = findings(command).await;
    assert_eq!(code, Some(1));
    let (state, words) = worst(&found, "certificate");
    assert_eq!(state, "problem");
    assert!(words.contains("still in force"), "{words}");
    let (state, words) = worst(&found, "application");
    assert_eq!(state, "problem");
    assert!(words.contains("500"), "{words}");
}

#[tokio::test]
async fn where_nobody_listens_on_the_targets_port_others_are_named() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let mut command = doctor(sidecar.admin);
    command.args(["--target", &closed.local_addr().unwrap().to_string()]);
    let (code, found) = findings(command).await;
    assert_eq!(code, Some(1));
    let (state, words) = worst(&found, "application");
    assert_eq!(state, "problem");
    assert!(words.contains("does not take connections"), "{words}");
}
