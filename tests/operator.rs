use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::support::{Client, Ended, Sidecar, eventually, hello, portcullis};

pub(crate) fn command(sidecar: &Sidecar, arguments: &[&str]) -> Command {
    let mut command = portcullis();
    command
        .args(arguments)
        .arg("--admin")
        .arg(sidecar.admin.to_string());
    command
}

pub(crate) async fn ended(command: Command) -> Ended {
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
    for (admin, code) in [
        ("unix:/nowhere/admin.sock", 3),
        ("unix:admin.sock", 2),
        ("ftp://x", 2),
    ] {
        let mut odd = portcullis();
        odd.args(["logs", "--admin", admin]);
        let odd = ended(odd).await;
        assert_eq!(odd.code, Some(code), "{admin}: {}", odd.stderr);
    }
}

#[tokio::test]
async fn certs_shows_what_is_served_and_reloads_what_is_on_disk() {
    let app = hello("hi").await;
    let mut sidecar = Sidecar::start(&app, &[]).await;
    let shown = ended(command(&sidecar, &["certs"])).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    for part in [
        "DNS:localhost",
        &sidecar.leaf.sha256(),
        "days left",
        "the same",
    ] {
        assert!(
            shown.stdout.contains(part),
            "{part} is not in\n{}",
            shown.stdout
        );
    }
    let same = ended(command(&sidecar, &["certs", "reload"])).await;
    assert_eq!(same.code, Some(0), "{}", same.stderr);
    assert!(same.stdout.contains("nothing to do"), "{}", same.stdout);

    let good = sidecar.leaf.clone();
    let other = sidecar.ca.leaf();
    sidecar.secret.swap_files(&good.certificate, &other.key);
    let refused = ended(command(&sidecar, &["certs", "reload"])).await;
    assert_eq!((refused.code, &*refused.stdout), (Some(1), ""));
    assert!(
        refused.stderr.contains("nothing was changed"),
        "{}",
        refused.stderr
    );

    sidecar.secret.swap(&other);
    // Whoever is first, the watcher or we: it is served then.
    let reloaded = ended(command(&sidecar, &["certs", "reload", "--output", "json"])).await;
    assert_eq!(reloaded.code, Some(0), "{}", reloaded.stderr);
    let answer: Value = serde_json::from_str(&reloaded.stdout).unwrap();
    assert_eq!(answer["attempts"][0]["new"], other.sha256());
}

#[tokio::test]
async fn target_is_shown_and_changed() {
    let (first, second) = (hello("first").await, hello("second").await);
    let sidecar = Sidecar::start(&first, &[]).await;
    let shown = ended(command(&sidecar, &["target"])).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(
        shown.stdout.contains(&first.to_string()),
        "{}",
        shown.stdout
    );
    assert!(!shown.stdout.contains("drift"), "{}", shown.stdout);

    let moved = ended(command(&sidecar, &["target", "set", &second.to_string()])).await;
    assert_eq!(moved.code, Some(0), "{}", moved.stderr);
    assert!(moved.stdout.starts_with("done "), "{}", moved.stdout);
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "second");
    let json = ended(command(&sidecar, &["target", "get", "--output", "json"])).await;
    let target: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(target["drift"], true);
    let status = ended(command(&sidecar, &["status"])).await;
    assert!(
        status.stdout.contains("drift: configured is"),
        "{}",
        status.stdout
    );

    let own = sidecar.https.to_string();
    let refused = ended(command(&sidecar, &["target", "set", &own])).await;
    assert_eq!((refused.code, &*refused.stdout), (Some(1), ""));
    assert!(
        refused.stderr.contains("nothing was changed"),
        "{}",
        refused.stderr
    );
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "second");
}

#[tokio::test]
async fn a_command_line_that_asks_for_what_there_is_not_ends_with_2() {
    for arguments in [
        &["target", "set"][..],
        &["target", "set", "a:1", "--confirm-within", "soon"],
        &["drain", "--timeout", "5s"],
        &["status", "--admin-token-file", "/nowhere/token"],
        &["status", "--admin", "https://127.0.0.1:1"],
        &["certs", "forget"],
    ] {
        let mut command = portcullis();
        command.args(arguments);
        let ended = ended(command).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn help_lists_the_commands_by_what_they_are_for() {
    let mut help = portcullis();
    help.arg("--help");
    let help = ended(help).await;
    assert_eq!(help.code, Some(0));
    for part in ["Serve:", "running sidecar", "log-level", "Exit codes"] {
        assert!(
            help.stdout.contains(part),
            "{part} is not in\n{}",
            help.stdout
        );
    }
    for name in ["status", "logs", "target", "certs", "log-level", "drain"] {
        let mut help = portcullis();
        help.args([name, "--help"]);
        let help = ended(help).await;
        assert_eq!(help.code, Some(0));
        for part in ["Examples:", "--admin <ADDR>", "Exit codes"] {
            assert!(
                help.stdout.contains(part),
                "{name}: {part} is not in\n{}",
                help.stdout
            );
        }
    }
}
