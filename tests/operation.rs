use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{Answer, App, Client, Sidecar, eventually, hello, read_answer, send};

async fn put_level(sidecar: &Sidecar, body: &str) -> Answer {
    let length = body.len();
    send(sidecar.admin, format!("PUT /log-level HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")).await
}

#[tokio::test]
async fn the_configuration_is_shown_with_the_origin_of_each_value() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--ring", "77"]).await;
    let view = sidecar.admin("/config").await.json();
    let option = |name: &str| -> Value {
        let options = view["options"].as_array().unwrap();
        options
            .iter()
            .find(|option| option["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        option("ring"),
        json!({"name": "ring", "value": "77", "origin": "flag --ring"})
    );
    assert_eq!(option("admin")["origin"], "environment PORTCULLIS_ADMIN");
    assert_eq!(
        option("stall-timeout"),
        json!({"name": "stall-timeout", "value": "60s", "origin": "default"})
    );
    assert_eq!(
        option("client-ca"),
        json!({"name": "client-ca", "value": null, "origin": "not set"})
    );
    let in_effect = &view["in_effect"];
    assert_eq!(in_effect["https"], sidecar.https.to_string());
    assert_eq!(in_effect["service_name"], "under-test");
    assert!(
        in_effect["workers"]
            .as_u64()
            .is_some_and(|workers| workers > 0)
    );
}

#[tokio::test]
async fn the_log_level_changes_at_run_time_and_a_wrong_one_changes_nothing() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let (is, set) = (
        json!({"filter": "info", "configured": "info"}),
        json!({"filter": "portcullis=debug,h2=off", "configured": "info"}),
    );
    assert_eq!(sidecar.admin("/log-level").await.json(), is);
    // What is unchanged on disk is only said at level debug when nobody asked.
    assert!(!sidecar.log().contains("DEBUG"), "{}", sidecar.log());
    for (body, status) in [
        (r#"{"filter":"a=b=c"}"#, 422),
        (r#"{"filter":"loud"}"#, 422),
        (r#"{"filter":""}"#, 422),
        (r#"{"filter":"h2=off"}"#, 200),
        (r#"{"level":"debug"}"#, 400),
        ("debug", 400),
    ] {
        let answer = put_level(&sidecar, body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    let answer = put_level(&sidecar, r#"{"filter":"portcullis=debug,h2=off"}"#).await;
    assert_eq!((answer.status, answer.json()), (200, set));
    let record = sidecar
        .record("of the change", |record| {
            record["action"] == "log_level"
                && record["result"] == "done"
                && record["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.ends_with("h2=off"))
        })
        .await;
    assert!(
        record["actor"]
            .as_str()
            .is_some_and(|who| who.starts_with("127.0.0.1:")),
        "{record}"
    );
    // An application that is away is tried again, which is said at that level.
    let gone = App::echo().await;
    let url = gone.to_string();
    drop(gone);
    let body = json!({"url": url, "probe": false}).to_string();
    assert_eq!(sidecar.put_target(&body).await.status, 200);
    let _ = Client::h1(&sidecar).get("/").await;
    eventually("it is said", async || {
        sidecar.log().contains("DEBUG").then_some(())
    })
    .await;
    assert_eq!(put_level(&sidecar, r#"{"filter":"off"}"#).await.status, 200);
    let said = sidecar.log().lines().count();
    let _ = Client::h1(&sidecar).get("/").await;
    sidecar
        .record("still written", |record| {
            record["kind"] == "exchange" && record["path"] == "/"
        })
        .await;
    assert_eq!(sidecar.log().lines().count(), said, "{}", sidecar.log());
}

#[tokio::test]
async fn a_drain_that_an_operator_begins_leaves_the_process_until_it_is_told_to_go() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--drain-delay", "0s"]).await;
    let begun = sidecar.ask_admin("POST", "/drain", "").await;
    assert_eq!(
        (begun.status, begun.json()),
        (202, json!({"phase": "draining"}))
    );
    eventually("it is drained", async || {
        (sidecar.admin("/status").await.json()["phase"] == "stopped").then_some(())
    })
    .await;
    assert_eq!(sidecar.probe("/readyz").await.status, 503);
    assert_eq!(sidecar.probe("/livez").await.status, 200);
    assert!(
        Client::h1(&sidecar).connect().await.is_err(),
        "nobody is let in any more"
    );
    let again = sidecar.ask_admin("POST", "/drain", "").await;
    assert_eq!(
        (again.status, again.json()),
        (202, json!({"phase": "stopped"}))
    );
    let record = sidecar
        .record("of the drain", |record| record["action"] == "drain")
        .await;
    assert!(record["actor"].as_str().is_some(), "{record}");
    sidecar.signal(Signal::TERM);
    assert_eq!(sidecar.ended().await.code, Some(0));
}

#[tokio::test]
async fn sigterm_in_an_operators_drain_waits_for_it_and_a_second_one_does_not() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        std::future::pending().await
    })
    .await;
    for is_impatient in [false, true] {
        let limit = if is_impatient { "1h" } else { "1s" };
        let sidecar =
            Sidecar::start(&app, &["--drain-delay", "0s", "--drain-timeout", limit]).await;
        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        let seen = app.heads().len();
        stream
            .write_all(b"GET /hangs HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        eventually("it is in flight", async || {
            (app.heads().len() > seen).then_some(())
        })
        .await;
        assert_eq!(sidecar.ask_admin("POST", "/drain", "").await.status, 202);
        eventually("it drains", async || {
            sidecar.log().contains("accepting no more").then_some(())
        })
        .await;
        sidecar.signal(Signal::TERM);
        eventually("it was heard", async || {
            sidecar
                .log()
                .contains("the process ends when that is done")
                .then_some(())
        })
        .await;
        if is_impatient {
            sidecar.signal(Signal::TERM);
        }
        let ended = sidecar.ended().await;
        assert_eq!(ended.code, Some(1), "what hung was cut");
        let words = if is_impatient {
            "a second signal"
        } else {
            "out of time"
        };
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert!(read_answer(&mut stream).await.is_err());
    }
}

#[tokio::test]
async fn the_openapi_document_names_every_request_that_the_plane_answers() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let document = sidecar.admin("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut seen = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            seen.push(format!("{} {path}", method.to_uppercase()));
            assert!(
                operation["summary"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{method} {path}"
            );
        }
    }
    for wanted in [
        "GET /",
        "GET /status",
        "GET /logs",
        "GET /inflight",
        "GET /target",
        "PUT /target",
        "DELETE /target",
        "POST /target/confirm",
        "GET /certs",
        "POST /certs/reload",
        "GET /config",
        "GET /log-level",
        "PUT /log-level",
        "POST /drain",
        "GET /metrics",
        "GET /healthz",
        "GET /livez",
        "GET /readyz",
        "GET /openapi.json",
    ] {
        assert!(
            seen.iter().any(|one| one == wanted),
            "{wanted} is missing in {seen:?}"
        );
    }
    // What is not named is not there.
    for path in ["/page", "/target/revert", "/admin", "/debug"] {
        assert_eq!(sidecar.admin(path).await.status, 404, "{path}");
    }
}
