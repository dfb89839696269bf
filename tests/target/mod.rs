/// Several who change it at the same time.
mod at_once;
/// What may not be a target.
mod refused;
/// Changes that are undone, or confirmed.
mod trial;

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
