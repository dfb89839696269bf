use serde_json::{Value, json};

use super::{put, target};
use crate::support::{App, Client, Sidecar, eventually, hello};

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
