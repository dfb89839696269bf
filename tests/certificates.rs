use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

use crate::support::{Ca, Client, Sidecar, eventually, h2_get, hello, portcullis, read_answer};

#[tokio::test]
async fn rotation_by_data_swap_fails_no_request_on_old_or_new_connections() {
    let app = hello("Hello you!").await;
    let mut sidecar = Sidecar::start(&app, &[]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut load = tokio::task::JoinSet::new();
    for kept in [true, false, true, false] {
        let (client, stop, done) = (Client::h1(&sidecar), Arc::clone(&stop), Arc::clone(&done));
        load.spawn(async move {
            let mut stream = client.connect().await.unwrap();
            while !stop.load(Ordering::Relaxed) {
                if !kept {
                    stream = client.connect().await.unwrap();
                }
                stream
                    .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    .await
                    .unwrap();
                assert_eq!(read_answer(&mut stream).await.unwrap().text(), "Hello you!");
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let client = Client::h1(&sidecar);
    for generation in 2..=10 {
        let leaf = sidecar.ca.leaf();
        let before = done.load(Ordering::Relaxed);
        sidecar.secret.swap(&leaf);
        eventually("the new certificate", async || {
            (client.served().await == leaf.der).then_some(())
        })
        .await;
        assert_eq!(h2.exchange(h2_get("/"), None).await.unwrap().0, 200);
        eventually("the load goes on", async || {
            (done.load(Ordering::Relaxed) > before).then_some(())
        })
        .await;
        assert_eq!(
            sidecar.admin("/certs").await.json()["generation"],
            generation
        );
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(finished) = load.join_next().await {
        finished.unwrap();
    }
    assert!(
        sidecar
            .records()
            .iter()
            .all(|record| record["kind"] != "exchange" || record["status"] == 200)
    );
}

#[tokio::test]
async fn a_bad_pair_is_refused_loudly_and_the_old_one_served_until_a_good_one_comes() {
    let app = hello("hi").await;
    let mut sidecar = Sidecar::start(&app, &[]).await;
    let (old, good, other) = (sidecar.leaf.clone(), sidecar.ca.leaf(), sidecar.ca.leaf());
    let client = Client::h1(&sidecar);
    let half = &good.certificate[..good.certificate.len() / 2];
    for (certificate, key, reason) in [
        (good.certificate.as_str(), other.key.as_str(), "mismatch"),
        (half, good.key.as_str(), "malformed"),
        (
            good.certificate.as_str(),
            &good.key[..good.key.len() / 2],
            "malformed",
        ),
        ("", good.key.as_str(), "empty_certificate"),
        (good.certificate.as_str(), "", "empty_key"),
        (
            good.certificate.as_str(),
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "encrypted_key",
        ),
    ] {
        sidecar.secret.swap_files(certificate, key);
        let certs = eventually("the refusal", async || {
            let certs = sidecar.admin("/certs").await.json();
            (certs["last_attempt"]["reason"] == reason).then_some(certs)
        })
        .await;
        assert_eq!(
            (&certs["generation"], &certs["last_attempt"]["result"]),
            (&1.into(), &"failed".into())
        );
        assert!(
            certs["last_error"].as_str().unwrap().contains("tls."),
            "{certs}"
        );
        assert_eq!(client.served().await, old.der, "{reason}");
        sidecar
            .record("an audit", |record| {
                record["kind"] == "audit"
                    && record["result"] == "failed"
                    && record["reason"] == reason
            })
            .await;
    }
    // Ready all along: what is served is still good.
    assert_eq!(sidecar.probe("/readyz").await.status, 200);
    assert!(
        sidecar.log().contains("the old one is still served"),
        "{}",
        sidecar.log()
    );
    assert!(!sidecar.log().contains("PRIVATE KEY-----\n"));
    sidecar.secret.swap(&good);
    eventually("the good one", async || {
        (client.served().await == good.der).then_some(())
    })
    .await;
    assert_eq!(
        sidecar.admin("/certs").await.json()["last_error"],
        serde_json::Value::Null
    );
}

#[tokio::test]
async fn a_missing_secret_leaves_the_process_not_ready_until_it_comes() {
    let app = hello("hi").await;
    let mut sidecar = Sidecar::start_with(&app, &[], |secret| {
        fs::remove_dir_all(secret.path()).unwrap();
    })
    .await;
    let answer = sidecar.probe("/readyz").await;
    assert_eq!(
        (answer.status, answer.field("content-type")),
        (503, Some("application/problem+json"))
    );
    assert!(
        answer.text().contains("no certificate yet"),
        "{}",
        answer.text()
    );
    assert_eq!(sidecar.probe("/livez").await.status, 200);
    assert!(Client::h1(&sidecar).connect().await.is_err());
    assert_eq!(
        sidecar
            .record("refused", |record| record["kind"] == "handshake")
            .await["reason"],
        "no_certificate"
    );

    fs::create_dir(sidecar.secret.path()).unwrap();
    let leaf = sidecar.leaf.clone();
    sidecar.secret.swap(&leaf);
    eventually("ready", async || {
        (sidecar.probe("/readyz").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(Client::h1(&sidecar).get("/").await.status, 200);
}

#[tokio::test]
async fn plain_files_are_reloaded_on_rename_and_on_writing_in_place() {
    let app = hello("hi").await;
    let ca = Ca::new();
    let (first, second, third) = (ca.leaf(), ca.leaf(), ca.leaf());
    let folder = crate::support::Secret::empty();
    let (certificate, key) = (folder.file("my.crt"), folder.file("my.key"));
    fs::write(&certificate, &first.certificate).unwrap();
    fs::write(&key, &first.key).unwrap();
    let mut command = portcullis();
    command
        .args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--probe",
            "127.0.0.1:0",
        ])
        .args(["--drain-delay", "0", "--target", &app.to_string()])
        .arg("--cert")
        .arg(&certificate)
        .arg("--key")
        .arg(&key);
    let sidecar = Sidecar::spawn(command, ca, first.clone(), folder).await;
    let client = Client::h1(&sidecar);
    assert_eq!(client.served().await, first.der);

    // Renamed one after the other: in between the pair does not match, and nothing is published.
    fs::write(sidecar.secret.file("new.crt"), &second.certificate).unwrap();
    fs::write(sidecar.secret.file("new.key"), &second.key).unwrap();
    fs::rename(sidecar.secret.file("new.crt"), &certificate).unwrap();
    fs::rename(sidecar.secret.file("new.key"), &key).unwrap();
    eventually("the renamed pair", async || {
        (client.served().await == second.der).then_some(())
    })
    .await;

    fs::write(&certificate, &third.certificate[..100]).unwrap();
    fs::write(&key, &third.key).unwrap();
    eventually("the half is seen and refused", async || {
        (sidecar.admin("/certs").await.json()["last_attempt"]["result"] == "failed").then_some(())
    })
    .await;
    assert_eq!(client.served().await, second.der);
    fs::write(&certificate, &third.certificate).unwrap();
    eventually("the written pair", async || {
        (client.served().await == third.der).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deleted_secret_changes_nothing_and_one_made_again_is_followed() {
    let app = hello("hi").await;
    let mut sidecar = Sidecar::start(&app, &[]).await;
    let client = Client::h1(&sidecar);
    let folder = sidecar.secret.path().to_owned();
    fs::remove_dir_all(&folder).unwrap();
    eventually("the loss is seen", async || {
        (sidecar.admin("/certs").await.json()["last_attempt"]["reason"] == "read").then_some(())
    })
    .await;
    assert_eq!(
        (
            sidecar.probe("/readyz").await.status,
            client.get("/").await.status
        ),
        (200, 200)
    );

    // Twice, to see that the new folder is watched and not only polled into.
    for _ in 0..2 {
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
        }
        let leaf = sidecar.ca.leaf();
        sidecar.secret.swap(&leaf);
        eventually("the new certificate", async || {
            (client.served().await == leaf.der).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn hangup_and_the_admin_plane_reload_and_say_how_it_went() {
    let app = hello("hi").await;
    let mut sidecar = Sidecar::start(&app, &[]).await;
    let reload = async |sidecar: &Sidecar| {
        crate::support::send(sidecar.admin, "POST /certs/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await
    };
    let answer = reload(&sidecar).await;
    assert_eq!(
        (answer.status, &answer.json()["result"]),
        (200, &"unchanged".into())
    );

    let (good, other) = (sidecar.ca.leaf(), sidecar.ca.leaf());
    sidecar.secret.swap_files(&good.certificate, &other.key);
    let answer = reload(&sidecar).await;
    assert_eq!(
        (answer.status, &answer.json()["reason"]),
        (409, &"mismatch".into())
    );
    assert!(
        answer.text().contains("generation 1 is still served"),
        "{}",
        answer.text()
    );

    sidecar.secret.swap(&good);
    let client = Client::h1(&sidecar);
    eventually("the good one", async || {
        (client.served().await == good.der).then_some(())
    })
    .await;
    sidecar.signal(Signal::HUP);
    eventually("the signal is obeyed", async || {
        sidecar
            .log()
            .contains("certificate unchanged trigger=\"signal\"")
            .then_some(())
    })
    .await;
    let text = sidecar.probe("/metrics").await.text();
    assert!(
        text.contains("portcullis_certificate_generation 2"),
        "{text}"
    );
    assert!(
        text.contains("portcullis_certificate_reloads_total{result=\"published\"} 2"),
        "{text}"
    );
}
