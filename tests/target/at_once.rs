use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use super::{put, target};
use crate::support::{App, Client, Sidecar, hello, send};

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
