use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use time::{Duration, OffsetDateTime};

use crate::support::{App, Ca, Client, Leaf, Secret, Sidecar, eventually, hello, running};

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
    let words = "the old one is still served";
    eventually(words, async || sidecar.log().contains(words).then_some(())).await;
    assert!(!sidecar.log().contains("PRIVATE KEY-----\n"));
    sidecar.secret.swap(&good);
    client.sees("the good one", &good).await;
    assert_eq!(
        sidecar.admin("/certs").await.json()["last_error"],
        serde_json::Value::Null
    );
}

#[tokio::test]
async fn a_chain_must_lead_from_the_leaf_upwards_and_be_signed_all_the_way() {
    let app = hello("hi").await;
    let mut sidecar = Sidecar::start(&app, &[]).await;
    let root = Ca::named("root");
    let (upper, other_upper) = (root.intermediate("upper"), root.intermediate("upper"));
    let lower = upper.intermediate("lower");
    let leaf = lower.leaf();
    let upside_down = format!("{}{}{}", upper.pem, lower.pem, leaf.certificate);
    for (chain, reason, words) in [
        (upside_down, "leaf_not_first", "certificate 3"),
        (
            leaf.chain(&[&upper, &lower]),
            "chain_order",
            "issued by CN=lower",
        ),
        (
            leaf.chain(&[&lower, &other_upper]),
            "chain_signature",
            "certificate 2 (CN=lower)",
        ),
        (
            leaf.chain(&[&lower, &upper, &lower]),
            "chain_order",
            "certificate 3",
        ),
        (WEAK.0.to_owned(), "weak_key", "RSA 1024"),
    ] {
        let key = if reason == "weak_key" {
            WEAK.1
        } else {
            &leaf.key
        };
        sidecar.secret.swap_files(&chain, key);
        let certs = eventually("the refusal", async || {
            let certs = sidecar.admin("/certs").await.json();
            (certs["last_attempt"]["reason"] == reason).then_some(certs)
        })
        .await;
        let error = certs["last_error"].as_str().unwrap();
        assert!(error.contains(words), "{error}");
        // On disk and served stand side by side.
        assert_ne!(certs["on_disk"]["sha256"], certs["chain"][0]["sha256"]);
        assert_eq!(certs["chain"][0]["sha256"], sidecar.leaf.sha256());
        assert!(!certs["disk_differs_since"].is_null());
    }
    sidecar
        .secret
        .swap_files(&leaf.chain(&[&lower, &upper]), &leaf.key);
    let certs = eventually("the good chain", async || {
        let certs = sidecar.admin("/certs").await.json();
        // It is served a moment before the account says so.
        let is_told = certs["disk_differs_since"].is_null();
        (certs["generation"] == 2 && is_told).then_some(certs)
    })
    .await;
    assert_eq!(certs["chain"].as_array().unwrap().len(), 3);
    let metrics = sidecar.probe("/metrics").await.text();
    assert!(metrics.contains("element=\"intermediate\""), "{metrics}");
}

#[tokio::test]
async fn a_certificate_outside_its_dates_never_takes_the_place_of_one_inside() {
    let app = hello("hi").await;
    let mut sidecar = Sidecar::start(&app, &[]).await;
    let client = Client::h1(&sidecar);
    let now = OffsetDateTime::now_utc();
    let expired = sidecar.ca.leaf_with(&["localhost"], |params| {
        params.not_before = now - Duration::days(9);
        params.not_after = now - Duration::days(1);
    });
    sidecar.secret.swap(&expired);
    let record = sidecar
        .record("refused", |record| record["reason"] == "expired")
        .await;
    let detail = record["detail"].as_str().unwrap();
    assert!(
        detail.contains("what is served now is still valid"),
        "{detail}"
    );
    assert_eq!(client.served().await, sidecar.leaf.der);

    // A clock that is behind the CA's: refused as long as that is so, and taken without another change on disk.
    let early = sidecar.ca.leaf_with(&["localhost"], |params| {
        params.not_before = now + Duration::seconds(3);
    });
    sidecar.secret.swap(&early);
    sidecar
        .record("refused", |record| record["reason"] == "not_yet_valid")
        .await;
    eventually("its time has come", async || {
        let served = Client::curious(&sidecar, &[], &["http/1.1"]).served().await;
        (served == early.der).then_some(())
    })
    .await;
    assert!(OffsetDateTime::now_utc() >= now + Duration::seconds(2));
}

#[tokio::test]
async fn an_expired_certificate_is_better_than_none_and_said_to_be_expired() {
    let app = hello("hi").await;
    let now = OffsetDateTime::now_utc();
    let ca = Ca::new();
    let expired = |days| {
        ca.leaf_with(&["localhost"], |params| {
            params.not_before = now - Duration::days(99);
            params.not_after = now - Duration::days(days);
        })
    };
    let (first, second) = (expired(2), expired(1));
    let mut sidecar = Sidecar::start_with(&app, &[], |secret| secret.swap(&first)).await;
    eventually("ready", async || {
        (sidecar.probe("/readyz").await.status == 200).then_some(())
    })
    .await;
    let client = Client::curious(&sidecar, &[], &["http/1.1"]);
    assert_eq!(client.get("/").await.status, 200);
    let status = sidecar.admin("/status").await.json();
    assert_eq!(status["ready"], true);
    assert!(
        status["degraded"][0]
            .as_str()
            .unwrap()
            .contains("expired at"),
        "{status}"
    );
    // There is nothing better to keep.
    sidecar.secret.swap(&second);
    client.sees("the other one", &second).await;
}

#[tokio::test]
async fn what_a_new_certificate_loses_is_said_and_no_reason_to_refuse_it() {
    let app = hello("hi").await;
    let mut sidecar = Sidecar::start(&app, &[]).await;
    let leaf = Ca::named("another CA").leaf_with(&["localhost"], |params| {
        params.not_after = OffsetDateTime::now_utc() + Duration::days(1);
    });
    sidecar.secret.swap(&leaf);
    let record = sidecar
        .record("the change", |record| {
            let detail = record["detail"].as_str().unwrap_or_default();
            record["result"] == "published" && detail.contains("generation 2")
        })
        .await;
    let detail = record["detail"].as_str().unwrap();
    for words in [
        "no longer has the names IP:127.0.0.1",
        "the issuer changed from CN=test CA to CN=another CA",
        "before the old one",
        "trigger notify",
        &sidecar.leaf.sha256(),
        &leaf.sha256(),
    ] {
        assert!(detail.contains(words), "{detail}");
    }
    let warnings = sidecar.admin("/certs").await.json()["last_attempt"]["warnings"].to_string();
    assert!(warnings.contains("issuer changed"), "{warnings}");
    eventually("the log says so, too", async || {
        sidecar.log().contains("issuer changed").then_some(())
    })
    .await;
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
    let mut command = bare(&app);
    command
        .arg("--cert")
        .arg(&certificate)
        .arg("--key")
        .arg(&key);
    let sidecar = Sidecar::spawn(command, ca, first.clone(), folder).await;
    let client = Client::h1(&sidecar);
    assert_eq!(client.served().await, first.der);

    // Files like any others, and everybody may read the key.
    let degraded = sidecar.admin("/status").await.json()["degraded"].to_string();
    assert!(degraded.contains("readable by every user"), "{degraded}");
    let mode = fs::Permissions::from_mode(0o600);
    // Renamed one after the other: in between the pair does not match, and nothing is published.
    fs::write(sidecar.secret.file("new.crt"), &second.certificate).unwrap();
    fs::write(sidecar.secret.file("new.key"), &second.key).unwrap();
    fs::set_permissions(sidecar.secret.file("new.key"), mode).unwrap();
    fs::rename(sidecar.secret.file("new.crt"), &certificate).unwrap();
    fs::rename(sidecar.secret.file("new.key"), &key).unwrap();
    client.sees("the renamed pair", &second).await;

    let status = sidecar.admin("/status").await.json();
    assert_eq!(status["degraded"], serde_json::json!([]));

    fs::write(&certificate, &third.certificate[..100]).unwrap();
    fs::write(&key, &third.key).unwrap();
    eventually("the half is seen and refused", async || {
        (sidecar.admin("/certs").await.json()["last_attempt"]["result"] == "failed").then_some(())
    })
    .await;
    assert_eq!(client.served().await, second.der);
    fs::write(&certificate, &third.certificate).unwrap();
    client.sees("the written pair", &third).await;
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

    // Again and again, to see that the new folder is watched and not only polled into, whatever its inode is.
    for round in 0..6 {
        if round == 3 {
            fs::remove_dir_all(&folder).unwrap();
        }
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
        }
        let leaf = sidecar.ca.leaf();
        sidecar.secret.swap(&leaf);
        client.sees("the new certificate", &leaf).await;
    }
}

#[tokio::test]
async fn a_key_that_is_gone_changes_nothing_is_told_once_and_measured() {
    let app = hello("hi").await;
    let ca = Ca::new();
    let (old, new) = (ca.leaf(), ca.leaf());
    let secret = Secret::empty();
    let (certificate, key) = (secret.file("tls.crt"), secret.file("tls.key"));
    fs::write(&certificate, &old.certificate).unwrap();
    fs::write(&key, &old.key).unwrap();
    let mut command = running();
    command.arg("--target").arg(app.to_string());
    command.arg("--cert-dir").arg(secret.path());
    let sidecar = Sidecar::spawn(command, ca, old, secret).await;
    sidecar.ready().await;
    fs::remove_file(&key).unwrap();
    let differs = async || {
        let metrics = sidecar.probe("/metrics").await.text();
        let sample = metrics
            .lines()
            .find(|line| line.starts_with("portcullis_certificate_disk_differs{"))?;
        let seconds: f64 = sample.rsplit(' ').next()?.parse().ok()?;
        (seconds > 0.0).then_some(())
    };
    eventually("the loss is measured", differs).await;
    assert_eq!(sidecar.probe("/readyz").await.status, 200);
    assert_eq!(Client::h1(&sidecar).get("/").await.status, 200);
    let failed = "portcullis_certificate_reloads_total{result=\"failed\"}";
    assert_eq!(sidecar.metric(failed).await, 1);
    let log = sidecar.log();
    let told = log
        .lines()
        .filter(|line| line.contains("tls.key") && line.contains("WARN"));
    assert_eq!(told.count(), 1, "{log}");
    fs::write(&certificate, &new.certificate).unwrap();
    fs::write(&key, &new.key).unwrap();
    sidecar.published(2).await;
}

#[tokio::test]
async fn links_are_followed_to_where_the_files_are() {
    let app = hello("hi").await;
    let ca = Ca::new();
    let (first, second) = (ca.leaf(), ca.leaf());
    let (one, two) = (Secret::holding(&first), Secret::holding(&second));
    // A folder that is a link, and files that are links into a volume mounted elsewhere.
    let links = tempfile::tempdir().unwrap();
    let current = links.path().join("current");
    symlink(one.path(), &current).unwrap();
    let mut volume = Secret::holding(&first);
    let files = links.path().join("files");
    fs::create_dir(&files).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(volume.file(name), files.join(name)).unwrap();
    }
    // And a folder below a link.
    let (old, new) = (links.path().join("v1"), links.path().join("v2"));
    for (version, secret) in [(&old, &one), (&new, &two)] {
        fs::create_dir(version).unwrap();
        symlink(secret.path(), version.join("tls")).unwrap();
    }
    let release = links.path().join("release");
    symlink(&old, &release).unwrap();
    let root = Path::new("/");
    let by_folder = sidecar_on(&app, &ca, &first, root, &current).await;
    let by_files = sidecar_on(&app, &ca, &first, root, &files).await;
    let by_release = sidecar_on(&app, &ca, &first, root, &release.join("tls")).await;
    let client = Client::h1(&by_folder);
    assert_eq!(client.served().await, first.der);
    let status = by_files.admin("/status").await.json();
    assert_eq!(status["degraded"], serde_json::json!([]));

    let next = links.path().join("next");
    for (target, link, sidecar) in [
        (two.path(), &current, &by_folder),
        (&new, &release, &by_release),
    ] {
        symlink(target, &next).unwrap();
        fs::rename(&next, link).unwrap();
        let client = Client::h1(sidecar);
        client.sees("the link is followed", &second).await;
    }
    volume.swap(&second);
    let client = Client::h1(&by_files);
    client.sees("the volume is watched", &second).await;
}

#[tokio::test]
async fn a_relative_folder_is_watched_like_any_other() {
    let app = hello("hi").await;
    let ca = Ca::new();
    let leaf = ca.leaf();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("tls");
    let write = |leaf: &Leaf| {
        for (name, text) in [("tls.crt", &leaf.certificate), ("tls.key", &leaf.key)] {
            fs::write(home.path().join("new"), text).unwrap();
            fs::rename(home.path().join("new"), folder.join(name)).unwrap();
        }
    };
    fs::create_dir(&folder).unwrap();
    write(&leaf);
    let sidecar = sidecar_on(&app, &ca, &leaf, home.path(), Path::new("tls")).await;
    let client = Client::h1(&sidecar);
    for round in 0..4 {
        if round == 1 {
            // The new one may have the old one's inode.
            fs::remove_dir_all(&folder).unwrap();
            fs::create_dir(&folder).unwrap();
        }
        let leaf = ca.leaf();
        write(&leaf);
        client.sees("the new certificate", &leaf).await;
    }
}

/// The command without a certificate.
fn bare(app: &App) -> Command {
    let mut command = running();
    command
        .args(["--drain-delay", "0"])
        .args(["--target", &app.to_string()]);
    command
}

/// A sidecar in one folder with its certificate in another.
async fn sidecar_on(app: &App, ca: &Ca, leaf: &Leaf, home: &Path, folder: &Path) -> Sidecar {
    let mut command = bare(app);
    command.current_dir(home).arg("--cert-dir").arg(folder);
    Sidecar::spawn(command, ca.clone(), leaf.clone(), Secret::empty()).await
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
    client.sees("the good one", &good).await;
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

/// A certificate with a key of 1,024 bits, and that key: nothing makes one any more but OpenSSL.
const WEAK: (&str, &str) = (
    "-----BEGIN CERTIFICATE-----\n\
     MIICEjCCAXugAwIBAgIUQvrN7X1czzf4CBGMS9c2If4GbYMwDQYJKoZIhvcNAQEL\n\
     BQAwDzENMAsGA1UEAwwEd2VhazAgFw0yNjExMjIxNjM3NTZaGA8yMTI2MTAyOTE2\n\
     Mzc1NlowDzENMAsGA1UEAwwEd2VhazCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkC\n\
     gYEAv7ui6n8J2U3dTuvGXbAKqLA3vM4+dxB02Nj9UAHehtSHv2xRoEUlEGgKieHa\n\
     E42kopjab5vGTTAH/y0ljPOyq2pvtjomtR6AVkMwqZhwHLK/Wo6PETR5zqUj6p7S\n\
     djjtQyqU47mTx4XP8yqwlskpOrIczvD38Rrkf/X65LFHlx8CAwEAAaNpMGcwHQYD\n\
     VR0OBBYEFDY892Bh+cLeqztZFU3rFV1nZ7lCMB8GA1UdIwQYMBaAFDY892Bh+cLe\n\
     qztZFU3rFV1nZ7lCMA8GA1UdEwEB/wQFMAMBAf8wFAYDVR0RBA0wC4IJbG9jYWxo\n\
     b3N0MA0GCSqGSIb3DQEBCwUAA4GBAFN3gt96fIe7zetc5GhkqThp7zH7REAPrNIC\n\
     4uH2Pfe82fyHszuL/LV7eSQxSBPJBCCPKzc4WIFnZ5n1xCCWGGFqnY87KJj1Rsxt\n\
     DA5qhDxDVum2EG5KWcca+jVi5KVFvsNlISj81zFprSGvyPUX/jcvmlHkRx1EECta\n\
     lLFgKjHq\n\
     -----END CERTIFICATE-----\n",
    "-----BEGIN PRIVATE KEY-----\n\
     MIICdQIBADANBgkqhkiG9w0BAQEFAASCAl8wggJbAgEAAoGBAL+7oup/CdlN3U7r\n\
     xl2wCqiwN7zOPncQdNjY/VAB3obUh79sUaBFJRBoConh2hONpKKY2m+bxk0wB/8t\n\
     JYzzsqtqb7Y6JrUegFZDMKmYcByyv1qOjxE0ec6lI+qe0nY47UMqlOO5k8eFz/Mq\n\
     sJbJKTqyHM7w9/Ea5H/1+uSxR5cfAgMBAAECgYBXJNZgVItKbDyJMVqAnJHLqAQ9\n\
     WVRE04L4SG+h3KeiipiEZZwYBzVYZqFbl/6BYqCQkn69uYSA8rK/xWpKzTzIJ2Ug\n\
     EjPU8jcPMYc0qfHC4C4nF+OVGJlpgklmauZyYSU37xquSkEfdZ8DmLUUE1g1nvxI\n\
     lZvTyrXwQ2dxHwJKyQJBAPs1UGRPNMLLC0oPvGG4jfjpNVVWHa/5Xy6qcI4D5Z4b\n\
     66Vfq7FA9yDMDQeVhoGtTwo9lcBGyV1Dxqp6dDIXYksCQQDDY+VbAxudZQ+h+EhC\n\
     0qPO8amEG5w5Iim7FYKFGSchOD3Lb4c2fSKVp7szv0cbiedh92CSCWYLkFFB4OpG\n\
     Ynn9AkAmIqDSqYeL7sEG/D6P4zGCUPzsuIcHOOcvMWam2IaaKwjp8Q0ieodJrlBo\n\
     D1X9B69REapTJyvYgbp+FNrg49XjAkASjNNjlqHyiXu4duf1YCYpKYxcfHqSegnY\n\
     NyyTElZCsyI6xDXkGHFGIAyH1ysbFDaheGj0tGu5wVPVm1Lip8rJAkBABkioSSzD\n\
     GhGsFkOoK/ImAV9MvlsSP9oNkb8WC5gfv6dD3FNwLZ5xST5/KmDejcztnUShMqyd\n\
     1DnlapcGOssJ\n\
     -----END PRIVATE KEY-----\n",
);
