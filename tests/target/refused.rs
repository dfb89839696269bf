use serde_json::{Value, json};

use super::{free, put, target};
use crate::support::{Client, Sidecar, eventually, hello};

#[tokio::test]
async fn a_target_that_may_not_be_one_changes_nothing_however_it_is_spelt() {
    let app = hello("still here").await;
    let sidecar = Sidecar::start(&app, &["--redirect", "127.0.0.1:0"]).await;
    let (https, admin) = (sidecar.https, sidecar.admin);
    let (port, free) = (https.port(), free().await);
    for (url, reason) in [
        (format!("http://{https}"), "loop"),
        (format!("http://{admin}"), "loop"),
        (format!("h2c://{admin}"), "loop"),
        (format!("http://{}", sidecar.probe), "loop"),
        (format!("http://{}", sidecar.redirect.unwrap()), "loop"),
        (format!("http://localhost:{port}"), "loop"),
        (format!("http://localhost.:{port}"), "loop"),
        (format!("LOCALHOST:{port}"), "loop"),
        (format!("http://[::ffff:127.0.0.1]:{port}"), "loop"),
        (format!("http://[::ffff:7f00:1]:{port}"), "loop"),
        (format!("http://[0:0:0:0:0:ffff:127.0.0.1]:{port}"), "loop"),
        // Decimal, octal, hexadecimal, short: what a resolver would take for 127.0.0.1 is no address here.
        (format!("http://2130706433:{port}"), "malformed"),
        (format!("http://0177.0.0.1:{port}"), "malformed"),
        (format!("http://017700000001:{port}"), "malformed"),
        (format!("http://0x7f.0.0.1:{port}"), "malformed"),
        (format!("http://0x7f000001:{port}"), "malformed"),
        (format!("http://127.1:{port}"), "malformed"),
        (format!("http://127.0.0.01:{port}"), "malformed"),
        (format!("http://[::127.0.0.1]:{port}"), "not_local"),
        (format!("http://0.0.0.0:{port}"), "not_local"),
        (format!("http://[::]:{port}"), "not_local"),
        (format!("http://user@127.0.0.1:{port}"), "malformed"),
        (format!("http://127.0.0.1:{port}/"), "loop"),
        (format!("http://127.0.0.1:{port}/path"), "malformed"),
        (format!("https://127.0.0.1:{port}"), "malformed"),
        ("file:///etc/passwd".to_owned(), "malformed"),
        (String::new(), "malformed"),
        (format!("http://{free}"), "probe_failed"),
        ("unix:/nowhere/app.sock".to_owned(), "probe_failed"),
        ("http://10.1.2.3:80".to_owned(), "not_local"),
        ("http://169.254.169.254".to_owned(), "not_local"),
        ("http://[fe80::1]".to_owned(), "not_local"),
        ("http://elsewhere.example".to_owned(), "not_local"),
        ("http://127.0.0.1.nip.example".to_owned(), "not_local"),
    ] {
        let answer = put(&sidecar, &json!({ "url": url }), None).await;
        let told = answer.json();
        assert_eq!(
            (answer.status, &told["reason"]),
            (422, &reason.into()),
            "{url}: {told}"
        );
        assert!(
            told["detail"]
                .as_str()
                .unwrap()
                .contains("nothing was changed"),
            "{url}"
        );
        assert_eq!(target(&sidecar).await["drift"], false, "{url}");
    }
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "still here");
    sidecar
        .record("of a refusal", |record| {
            record["action"] == "target_change"
                && record["result"] == "refused"
                && record["reason"] == "loop"
                && record["actor"]
                    .as_str()
                    .is_some_and(|who| who.starts_with("127.0.0.1:"))
        })
        .await;
}

#[tokio::test]
async fn what_is_never_a_target_is_none_with_remote_targets_allowed_either() {
    let app = hello("still here").await;
    let sidecar = Sidecar::start(&app, &["--allow-remote-target"]).await;
    let port = sidecar.https.port();
    for (url, reason) in [
        ("http://169.254.169.254".to_owned(), "metadata"),
        ("http://[::ffff:169.254.169.254]".to_owned(), "metadata"),
        ("http://[::ffff:a9fe:a9fe]".to_owned(), "metadata"),
        ("http://[64:ff9b::169.254.169.254]".to_owned(), "metadata"),
        ("http://[fd00:ec2::254]".to_owned(), "metadata"),
        ("http://100.100.100.200".to_owned(), "metadata"),
        ("http://metadata.google.internal".to_owned(), "metadata"),
        ("http://169.254.10.10:8080".to_owned(), "link_local"),
        ("http://[fe80::1]:8080".to_owned(), "link_local"),
        (format!("http://0.0.0.0:{port}"), "unusable"),
        (format!("http://[::]:{port}"), "unusable"),
        (format!("http://[::127.0.0.1]:{port}"), "unusable"),
        (format!("http://[64:ff9b::127.0.0.1]:{port}"), "loop"),
        ("http://255.255.255.255:80".to_owned(), "unusable"),
        ("http://224.0.0.1:80".to_owned(), "unusable"),
        ("http://no-such-name.invalid:80".to_owned(), "unresolved"),
    ] {
        let answer = put(&sidecar, &json!({ "url": url, "probe": false }), None).await;
        let told = answer.json();
        assert_eq!(
            (answer.status, &told["reason"]),
            (422, &reason.into()),
            "{url}: {told}"
        );
    }
    assert_eq!(target(&sidecar).await["drift"], false);
}

#[tokio::test]
async fn the_own_admin_socket_is_no_target_by_whatever_link() {
    let app = hello("still here").await;
    let folder = tempfile::tempdir().unwrap();
    let (socket, link) = (
        folder.path().join("admin.sock"),
        folder.path().join("link.sock"),
    );
    let at = format!("unix:{}", socket.display());
    let sidecar = Sidecar::start(&app, &["--admin", &at]).await;
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    let hard = folder.path().join("hard.sock");
    std::fs::hard_link(&socket, &hard).unwrap();
    for path in [&socket, &link, &hard] {
        let mut command = crate::support::portcullis();
        let url = format!("unix:{}", path.display());
        command.args(["target", "set", &url, "--admin", &at]);
        let ended = crate::support::Ended::of(command);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("is Portcullis itself"),
            "{}",
            ended.stderr
        );
    }
    // Somebody who may write the folder moves it away, and names it by its new name.
    let moved = folder.path().join("moved.sock");
    std::fs::rename(&socket, &moved).unwrap();
    let mut command = crate::support::portcullis();
    let (url, at) = (
        format!("unix:{}", moved.display()),
        format!("unix:{}", moved.display()),
    );
    command.args(["target", "set", &url, "--no-probe", "--admin", &at]);
    let ended = crate::support::Ended::of(command);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    drop(sidecar);
}

#[tokio::test]
async fn a_password_in_a_refused_target_stands_in_no_record() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for url in [
        "http://admin:s3cret@127.0.0.1:1",
        "http://127.0.0.1:1/?token=s3cret",
    ] {
        let answer = put(&sidecar, &json!({ "url": url }), None).await;
        assert_eq!(
            (answer.status, &answer.json()["reason"]),
            (422, &"malformed".into())
        );
        assert!(!answer.text().contains("s3cret"), "{}", answer.text());
    }
    let refused = |record: &Value| record["action"] == "target_change";
    eventually("both are recorded", async || {
        (sidecar
            .records()
            .iter()
            .filter(|record| refused(record))
            .count()
            == 2)
            .then_some(())
    })
    .await;
    let all = sidecar.stdout_text() + &sidecar.log();
    assert!(!all.contains("s3cret"), "{all}");
}
