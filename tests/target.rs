use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;

use crate::support::{Answer, App, Client, Sidecar, eventually, hello, send};

/// Asks for a change, with an `If-Match` where one is given.
async fn put(sidecar: &Sidecar, body: &Value, if_match: Option<&str>) -> Answer {
    let body = body.to_string();
    let condition = if_match.map_or_else(String::new, |tag| format!("If-Match: {tag}\r\n"));
    let length = body.len();
    send(sidecar.admin, format!("PUT /target HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{condition}Connection: close\r\n\r\n{body}")).await
}

async fn target(sidecar: &Sidecar) -> Value {
    sidecar.admin("/target").await.json()
}

/// A port that nobody listens on.
async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_target_change_takes_the_next_request_and_leaves_the_running_one() {
    let go_on = Arc::new(Notify::new());
    let script = Arc::clone(&go_on);
    let old = App::scripted(move |mut talk| {
        let go_on = Arc::clone(&script);
        async move {
            while let Some(head) = talk.head().await? {
                if head.contains("/slow") {
                    go_on.notified().await;
                }
                talk.answer("200 OK", b"old").await?;
            }
            Ok(())
        }
    })
    .await;
    let new = hello("new").await;
    let sidecar = Sidecar::start(&old, &[]).await;
    let client = Client::h1(&sidecar);
    assert_eq!(client.get("/").await.text(), "old");
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.get("/slow").await }
    });
    eventually("the slow one has begun", async || {
        (old.heads().len() == 2).then_some(())
    })
    .await;

    let changed = sidecar.put_target(&format!("{{\"url\":\"{new}\"}}")).await;
    assert_eq!(
        (changed.status, &changed.json()["drift"]),
        (200, &true.into())
    );
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "new");
    }
    go_on.notify_one();
    assert_eq!(slow.await.unwrap().text(), "old");
    let view = sidecar.admin("/target").await.json();
    assert_eq!(
        (&view["url"], &view["configured"]),
        (&new.to_string().into(), &old.to_string().into())
    );
    sidecar
        .record("an audit", |record| {
            record["action"] == "target_change" && record["result"] == "done"
        })
        .await;
    assert!(
        sidecar
            .probe("/metrics")
            .await
            .text()
            .contains("portcullis_target_drift 1")
    );
}

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
async fn a_dry_run_tells_all_and_changes_nothing() {
    let (old, new) = (
        hello("old").await,
        App::failing_at("/broken", "500 Oh").await,
    );
    let sidecar = Sidecar::start(&old, &[]).await;
    let url = new.to_string();
    let answer = put(
        &sidecar,
        &json!({"url": url, "dry_run": true, "probe_path": "/health?deep=1"}),
        None,
    )
    .await;
    let told = answer.json();
    assert_eq!(
        (answer.status, &told["dry_run"]),
        (200, &true.into()),
        "{told}"
    );
    let checked = json!({"url": url, "address": new.address.to_string(), "status": 200});
    assert_eq!(told["checked"], checked);
    assert_eq!(
        (&told["drift"], &told["url"]),
        (&false.into(), &old.to_string().into())
    );
    let refused = put(
        &sidecar,
        &json!({"url": url, "dry_run": true, "probe_path": "/broken"}),
        None,
    )
    .await;
    assert_eq!(
        refused.json()["reason"],
        "probe_status",
        "{}",
        refused.text()
    );
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "old");
    sidecar
        .record("of the dry run", |record| {
            record["action"] == "target_change" && record["result"] == "dry_run"
        })
        .await;
}

#[tokio::test]
async fn a_probe_wants_the_status_that_it_is_told_and_follows_no_redirect() {
    let old = hello("old").await;
    let new = App::scripted(|mut talk| async move {
        while let Some(head) = talk.head().await? {
            if head.starts_with("GET /moved ") {
                talk.say(b"HTTP/1.1 302 Found\r\nLocation: /fine\r\nContent-Length: 0\r\n\r\n")
                    .await?;
            } else {
                talk.answer("204 No Content", b"").await?;
            }
        }
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&old, &[]).await;
    let ask = async |more: Value| {
        let mut body = json!({"url": new.to_string()});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        put(&sidecar, &body, None).await
    };
    for (more, status, reason) in [
        (json!({"probe_path": "/moved"}), 422, "probe_status"),
        (json!({"probe_path": "/fine"}), 422, "probe_status"),
        (json!({"probe_path": "no-path"}), 422, "malformed"),
        (json!({"probe_status": 204}), 422, "malformed"),
        (
            json!({"probe": false, "probe_path": "/fine"}),
            422,
            "malformed",
        ),
        (json!({"confirm_within": "soon"}), 422, "malformed"),
        (json!({"confirm_within": "0s"}), 422, "malformed"),
        (json!({"confirm_within": "25h"}), 422, "malformed"),
    ] {
        let answer = ask(more.clone()).await;
        assert_eq!(
            (answer.status, &answer.json()["reason"]),
            (status, &reason.into()),
            "{more}: {}",
            answer.text()
        );
    }
    assert_eq!(target(&sidecar).await["drift"], false);
    assert!(
        !new.heads()
            .iter()
            .any(|head| head.contains("/fine HTTP") && head.contains("Referer"))
    );
    assert_eq!(
        ask(json!({"probe_path": "/moved", "probe_status": 302}))
            .await
            .status,
        200
    );
    assert_eq!(
        ask(json!({"probe_path": "/fine", "probe_status": 204}))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn kept_connections_to_the_old_target_are_closed() {
    let closed = Arc::new(Notify::new());
    let told = Arc::clone(&closed);
    let old = App::scripted(move |mut talk| {
        let told = Arc::clone(&told);
        async move {
            while talk.head().await?.is_some() {
                talk.answer("200 OK", b"old").await?;
                // The connection is kept, and ends only because the other side does not want it any more.
                if talk.stream.read(&mut [0; 1]).await? == 0 {
                    told.notify_one();
                    return Ok(());
                }
            }
            Ok(())
        }
    })
    .await;
    let new = hello("new").await;
    let sidecar = Sidecar::start(&old, &["--pool-idle", "10m"]).await;
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "old");
    assert_eq!(
        put(&sidecar, &json!({"url": new.to_string()}), None)
            .await
            .status,
        200
    );
    tokio::time::timeout(crate::support::PATIENCE, closed.notified())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_change_that_nobody_confirms_is_undone() {
    let (old, new) = (hello("old").await, hello("new").await);
    let sidecar = Sidecar::start(&old, &[]).await;
    let changed = put(
        &sidecar,
        &json!({"url": new.to_string(), "confirm_within": "2s"}),
        None,
    )
    .await;
    let trial = changed.json()["trial"].clone();
    assert_eq!(trial["returns_to"], old.to_string(), "{}", changed.text());
    assert!(
        trial["until"]
            .as_str()
            .is_some_and(|until| until.ends_with('Z'))
    );
    let client = Client::h1(&sidecar);
    assert_eq!(client.get("/").await.text(), "new");
    assert_eq!(sidecar.metric("portcullis_target_drift").await, 1);
    let view = eventually("it is undone", async || {
        let view = target(&sidecar).await;
        view.get("trial").is_none().then_some(view)
    })
    .await;
    assert_eq!(
        (&view["url"], &view["drift"]),
        (&old.to_string().into(), &false.into())
    );
    let rollback = &view["last_rollback"];
    assert_eq!(
        (&rollback["reason"], &rollback["from"]),
        (&"unconfirmed".into(), &new.to_string().into())
    );
    assert_eq!(client.get("/").await.text(), "old");
    assert_eq!(sidecar.metric("portcullis_target_drift").await, 0);
    let record = sidecar
        .record("of the rollback", |record| {
            record["action"] == "target_rollback"
        })
        .await;
    assert_eq!(
        (&record["reason"], record.get("actor")),
        (&"unconfirmed".into(), None)
    );
    let late = sidecar.ask_admin("POST", "/target/confirm", "").await;
    assert_eq!(
        (late.status, &late.json()["reason"]),
        (409, &"nothing_to_confirm".into())
    );
}

#[tokio::test]
async fn a_change_that_is_confirmed_waits_for_nothing_any_more() {
    let (old, new) = (hello("old").await, hello("new").await);
    let sidecar = Sidecar::start(&old, &[]).await;
    let body = json!({"url": new.to_string(), "confirm_within": "10m"});
    assert_eq!(put(&sidecar, &body, None).await.status, 200);
    let confirmed = sidecar.ask_admin("POST", "/target/confirm", "").await;
    assert_eq!(
        (confirmed.status, confirmed.json().get("trial")),
        (200, None)
    );
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "new");
    let view = target(&sidecar).await;
    assert_eq!(
        (&view["drift"], view.get("last_rollback")),
        (&true.into(), None)
    );
    sidecar
        .record("of the confirmation", |record| {
            record["action"] == "target_confirm" && record["result"] == "done"
        })
        .await;
}

#[tokio::test]
async fn what_is_changed_while_another_change_is_probed_wins() {
    let (old, kept) = (hello("old").await, hello("kept").await);
    let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let script = (Arc::clone(&asked), Arc::clone(&go_on));
    let slow = App::scripted(move |mut talk| {
        let (asked, go_on) = script.clone();
        async move {
            talk.head().await?;
            asked.notify_one();
            go_on.notified().await;
            talk.answer("200 OK", b"slow").await
        }
    })
    .await;
    let sidecar = Sidecar::start(&old, &[]).await;
    assert_eq!(
        put(&sidecar, &json!({"url": kept.to_string()}), None)
            .await
            .status,
        200
    );
    let body = json!({"url": slow.to_string(), "probe_path": "/"}).to_string();
    let (admin, length) = (sidecar.admin, body.len());
    let changing = tokio::spawn(async move {
        send(admin, format!("PUT /target HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")).await
    });
    asked.notified().await;
    let reverted = sidecar.ask_admin("DELETE", "/target", "").await;
    assert_eq!(
        (reverted.status, &reverted.json()["drift"]),
        (200, &false.into())
    );
    go_on.notify_one();
    let changed = changing.await.unwrap();
    assert_eq!(
        (changed.status, &changed.json()["reason"]),
        (412, &"changed_meanwhile".into())
    );
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "old");
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

#[tokio::test]
async fn a_change_whose_application_fails_is_undone_before_its_time() {
    let (old, new) = (
        hello("old").await,
        App::failing_at("/", "500 Internal Server Error").await,
    );
    let sidecar = Sidecar::start(&old, &[]).await;
    let body = json!({"url": new.to_string(), "confirm_within": "10m"});
    assert_eq!(put(&sidecar, &body, None).await.status, 200);
    let client = Client::h1(&sidecar);
    for _ in 0..5 {
        assert_eq!(client.get("/").await.status, 500);
    }
    eventually("it is undone", async || {
        (client.get("/").await.text() == "old").then_some(())
    })
    .await;
    let rollback = target(&sidecar).await["last_rollback"].clone();
    assert_eq!(rollback["reason"], "failures", "{rollback}");
    assert!(
        rollback["detail"]
            .as_str()
            .unwrap()
            .contains("exchanges within 10 s have failed"),
        "{rollback}"
    );
}

#[tokio::test]
async fn a_change_to_an_application_that_goes_away_is_undone_too() {
    let (old, new) = (hello("old").await, hello("new").await);
    let sidecar = Sidecar::start(&old, &["--connect-retry-for", "0s"]).await;
    let body = json!({"url": new.to_string(), "confirm_within": "10m"});
    assert_eq!(put(&sidecar, &body, None).await.status, 200);
    drop(new);
    let client = Client::h1(&sidecar);
    eventually("it is undone", async || {
        (client.get("/").await.text() == "old").then_some(())
    })
    .await;
    assert_eq!(
        target(&sidecar).await["last_rollback"]["reason"],
        "failures"
    );
}

#[tokio::test]
async fn what_clients_do_wrong_undoes_nothing() {
    let (old, new) = (
        hello("old").await,
        App::failing_at("/missing", "404 Not Found").await,
    );
    let sidecar = Sidecar::start(&old, &[]).await;
    let body = json!({"url": new.to_string(), "confirm_within": "10m"});
    assert_eq!(put(&sidecar, &body, None).await.status, 200);
    let client = Client::h1(&sidecar);
    for _ in 0..10 {
        assert_eq!(client.get("/missing").await.status, 404);
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n")
            .await;
    }
    let trial = eventually("they are counted", async || {
        let view = target(&sidecar).await;
        (view["trial"]["exchanges"] == 10 || view.get("trial").is_none())
            .then(|| view["trial"].clone())
    })
    .await;
    assert_eq!(trial["failed"], 0, "{trial}");
}

#[tokio::test]
async fn an_undone_change_goes_back_to_the_last_one_that_was_for_good() {
    let (configured, kept, tried) = (
        hello("configured").await,
        hello("kept").await,
        hello("tried").await,
    );
    let sidecar = Sidecar::start(&configured, &[]).await;
    assert_eq!(
        put(&sidecar, &json!({"url": kept.to_string()}), None)
            .await
            .status,
        200
    );
    let body = json!({"url": tried.to_string(), "confirm_within": "1s"});
    assert_eq!(
        put(&sidecar, &body, None).await.json()["trial"]["returns_to"],
        kept.to_string()
    );
    let client = Client::h1(&sidecar);
    eventually("it is undone", async || {
        (client.get("/").await.text() == "kept").then_some(())
    })
    .await;
    let reverted = sidecar.ask_admin("DELETE", "/target", "").await;
    assert_eq!(
        (reverted.status, &reverted.json()["drift"]),
        (200, &false.into())
    );
    assert_eq!(client.get("/").await.text(), "configured");
    assert_eq!(sidecar.ask_admin("DELETE", "/target", "").await.status, 200);
    let results: Vec<Value> = eventually("both are recorded", async || {
        let records = sidecar.records();
        let reverts = records
            .iter()
            .filter(|record| record["action"] == "target_revert");
        let results: Vec<_> = reverts.map(|record| record["result"].clone()).collect();
        (results.len() == 2).then_some(results)
    })
    .await;
    assert_eq!(results, ["done", "unchanged"]);
}

#[tokio::test]
async fn of_two_who_change_it_at_once_the_second_learns_of_the_first() {
    let (old, new) = (hello("old").await, hello("new").await);
    let sidecar = Sidecar::start(&old, &[]).await;
    let seen = sidecar.admin("/target").await;
    let tag = seen.field("etag").unwrap().to_owned();
    assert_eq!(
        seen.field("etag"),
        sidecar.admin("/target").await.field("etag")
    );
    let body = json!({"url": new.to_string()});
    let first = put(&sidecar, &body, Some(&tag)).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let second = put(&sidecar, &body, Some(&tag)).await;
    assert_eq!(
        (second.status, &second.json()["reason"]),
        (412, &"changed_meanwhile".into())
    );
    for (method, path) in [("DELETE", "/target"), ("POST", "/target/confirm")] {
        let answer = sidecar
            .ask_admin(method, path, &format!("If-Match: {tag}\r\n"))
            .await;
        assert_eq!(answer.status, 412, "{method} {path}: {}", answer.text());
    }
    assert_eq!(target(&sidecar).await["url"], new.to_string());
    let tag = first.field("etag").unwrap();
    let answer = sidecar
        .ask_admin("DELETE", "/target", &format!("If-Match: {tag}\r\n"))
        .await;
    assert_eq!(answer.status, 200);

    // Many at once, all with the same expectation: one is the first.
    let tag = sidecar
        .admin("/target")
        .await
        .field("etag")
        .unwrap()
        .to_owned();
    let mut statuses: Vec<u16> = Vec::new();
    let mut all = tokio::task::JoinSet::new();
    let (admin, text) = (sidecar.admin, body.to_string());
    for _ in 0..10 {
        let request = format!(
            "PUT /target HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nIf-Match: {tag}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        all.spawn(async move { send(admin, request).await.status });
    }
    while let Some(status) = all.join_next().await {
        statuses.push(status.unwrap());
    }
    let won = statuses.iter().filter(|status| **status == 200).count();
    let others = statuses
        .iter()
        .filter(|status| [409, 412].contains(*status));
    assert_eq!((won, others.count()), (1, 9), "{statuses:?}");
}

#[tokio::test]
async fn a_restart_returns_to_the_configured_target_as_the_view_says() {
    let (old, new) = (hello("old").await, hello("new").await);
    let sidecar = Sidecar::start(&old, &[]).await;
    let changed = put(
        &sidecar,
        &json!({"url": new.to_string(), "confirm_within": "1h"}),
        None,
    )
    .await;
    assert_eq!(changed.json()["after_restart"], old.to_string());
    eventually("it is said", async || {
        sidecar
            .log()
            .contains("to which a restart returns")
            .then_some(())
    })
    .await;
    let tag = changed.field("etag").unwrap().to_owned();
    drop(sidecar);
    let again = Sidecar::start(&old, &[]).await;
    assert_eq!(Client::h1(&again).get("/").await.text(), "old");
    let answer = again
        .ask_admin("DELETE", "/target", &format!("If-Match: {tag}\r\n"))
        .await;
    assert_eq!(
        answer.status, 412,
        "the state of another process is not this one's"
    );
}

#[tokio::test]
async fn a_unix_socket_can_be_the_new_target() {
    let old = hello("old").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nunix")
                .await;
        }
    });
    let sidecar = Sidecar::start(&old, &[]).await;
    let body = json!({"url": format!("unix:{}", path.display()), "probe_path": "/"});
    let answer = put(&sidecar, &body, None).await;
    assert_eq!(
        (answer.status, &answer.json()["checked"]["status"]),
        (200, &200.into()),
        "{}",
        answer.text()
    );
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "unix");
    serving.abort();
}
