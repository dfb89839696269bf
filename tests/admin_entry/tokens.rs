use super::{READ, WRITE, bearer, both, path, tokens};
use crate::support::{Sidecar, eventually, hello};

#[tokio::test]
async fn with_tokens_nothing_but_health_is_open() {
    let app = hello("hi").await;
    let file = both();
    let sidecar = Sidecar::start(&app, &["--admin-token-file", path(&file)]).await;
    for open in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(
            sidecar.ask_admin("GET", open, "").await.status,
            200,
            "{open}"
        );
    }
    for (method, path) in [
        ("GET", "/status"),
        ("GET", "/logs"),
        ("GET", "/logs?follow=true"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/config"),
        ("GET", "/nothing"),
        ("POST", "/livez"),
        ("POST", "/drain"),
        ("DELETE", "/target"),
        ("POST", "/certs/reload"),
    ] {
        let answer = sidecar.ask_admin(method, path, "").await;
        assert_eq!(answer.status, 401, "{method} {path}");
        assert_eq!(answer.json()["reason"], "token_missing", "{method} {path}");
        assert_eq!(
            answer.field("www-authenticate"),
            Some("Bearer realm=\"portcullis\"")
        );
        for wrong in [
            "",
            "x",
            &WRITE[1..],
            &format!("{WRITE}0"),
            &WRITE.to_uppercase(),
        ] {
            let answer = sidecar.ask_admin(method, path, &bearer(wrong)).await;
            // Later ones are slowed.
            assert!(
                [401, 429].contains(&answer.status),
                "{method} {path}: {}",
                answer.head
            );
        }
    }
    let basic = sidecar
        .ask_admin(
            "GET",
            "/status",
            &format!("Authorization: Basic {WRITE}\r\n"),
        )
        .await;
    assert_eq!(basic.status, 401);
    for token in [WRITE, READ] {
        assert_eq!(
            sidecar
                .ask_admin("GET", "/status", &bearer(token))
                .await
                .status,
            200
        );
    }
    // The probe plane has no credential and no changes.
    assert_eq!(sidecar.probe("/metrics").await.status, 200);
    assert_eq!(sidecar.probe("/status").await.status, 404);
}

#[tokio::test]
async fn a_token_of_scope_read_changes_nothing() {
    let app = hello("hi").await;
    let file = both();
    let sidecar = Sidecar::start(&app, &["--admin-token-file", path(&file)]).await;
    for (method, path) in [
        ("DELETE", "/target"),
        ("POST", "/certs/reload"),
        ("POST", "/drain"),
        ("PUT", "/target"),
        ("PUT", "/log-level"),
    ] {
        let answer = sidecar.ask_admin(method, path, &bearer(READ)).await;
        assert_eq!(
            (answer.status, &answer.json()["reason"]),
            (403, &"scope".into()),
            "{method} {path}"
        );
    }
    let refused = sidecar
        .record("of the refusal", |record| {
            record["action"] == "admin_access"
        })
        .await;
    assert_eq!(refused["reason"], "scope");
    assert!(
        refused["actor"]
            .as_str()
            .unwrap()
            .starts_with("token web of 127.0.0.1:"),
        "{refused}"
    );
    assert_eq!(
        sidecar
            .ask_admin("POST", "/certs/reload", &bearer(WRITE))
            .await
            .status,
        200
    );
    let done = sidecar
        .record("of the reload", |record| {
            record["action"] == "certificate_reload" && record["result"] == "asked"
        })
        .await;
    assert!(
        done["actor"]
            .as_str()
            .unwrap()
            .starts_with("token ops of 127.0.0.1:"),
        "{done}"
    );
    let shown = sidecar.stdout_text() + &sidecar.log();
    assert!(
        !shown.contains(WRITE) && !shown.contains(READ),
        "a token is in a log"
    );
}

#[tokio::test]
async fn a_token_file_is_read_again_when_it_changes_and_a_broken_one_changes_nothing() {
    let app = hello("hi").await;
    let file = tokens(WRITE);
    let sidecar = Sidecar::start(&app, &["--admin-token-file", path(&file)]).await;
    let status = async |token: &str| {
        sidecar
            .ask_admin("GET", "/status", &bearer(token))
            .await
            .status
    };
    assert_eq!((status(WRITE).await, status(READ).await), (200, 401));
    std::fs::write(file.path(), format!("ops {READ}\n")).unwrap();
    let failed = sidecar
        .record("of the failure", |record| {
            record["action"] == "admin_tokens"
        })
        .await;
    assert_eq!(
        (&failed["result"], &failed["reason"]),
        (&"failed".into(), &"malformed".into())
    );
    assert!(!failed.to_string().contains(READ), "{failed}");
    assert_eq!(status(WRITE).await, 200);
    std::fs::write(file.path(), format!("ops write {READ}\n")).unwrap();
    sidecar.signal(rustix::process::Signal::HUP);
    eventually("the new one is good", async || {
        (status(READ).await == 200).then_some(())
    })
    .await;
    assert_eq!(status(WRITE).await, 401);
    std::fs::remove_file(file.path()).unwrap();
    eventually("it is said", async || {
        sidecar
            .log()
            .contains("the tokens read before are still good")
            .then_some(())
    })
    .await;
    assert_eq!(status(READ).await, 200);
}
