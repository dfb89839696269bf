use std::fs;

use rcgen::{DnType, SanType};
use time::{Duration, OffsetDateTime};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{App, Ca, Client, Leaf, Sidecar, eventually, h2_get, hello, tomorrow};

/// A sidecar that lets in only clients of this CA.
async fn requiring(app: &App, ca: &Ca) -> Sidecar {
    let args = ["--client-auth", "required"];
    Sidecar::start_beside(app, &[("ca.crt", &ca.pem)], &args).await
}

/// The record of a handshake that failed for this reason.
async fn refusal(sidecar: &Sidecar, reason: &str) -> String {
    let record = sidecar
        .record(reason, |record| {
            record["kind"] == "handshake" && record["reason"] == reason
        })
        .await;
    record["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn nobody_is_let_in_before_it_is_known_who_may() {
    let app = hello("hi").await;
    let ca = Ca::new();
    let mut sidecar = Sidecar::start_with(&app, &["--client-auth", "required"], |_| {}).await;
    let answer = sidecar.probe("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("ca.crt"), "{}", answer.text());
    Client::as_client(&sidecar, &ca.client("a", &[], 1))
        .is_refused()
        .await;
    Client::h1(&sidecar).is_refused().await;
    sidecar.swap_beside(&[("ca.crt", &ca.pem)]);
    sidecar.ready().await;
    assert_eq!(
        Client::as_client(&sidecar, &ca.client("a", &[], 1))
            .get("/")
            .await
            .status,
        200
    );
    assert_eq!(app.heads().len(), 1);
}

#[tokio::test]
async fn a_verified_client_is_in_the_record_and_named_to_the_application_in_envoys_format() {
    let app = hello("hi").await;
    let ca = Ca::named("client CA");
    let sidecar = requiring(&app, &ca).await;
    let uri = "spiffe://corp.test/ns/prod/sa/web";
    let leaf = ca.leaf_with(&["web.corp.test", "www.corp.test"], |params| {
        params
            .subject_alt_names
            .push(SanType::URI(uri.try_into().unwrap()));
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Corp; \"By=evil\", Inc");
        params.distinguished_name.push(DnType::CommonName, "web");
    });
    let forged = "X-Forwarded-Client-Cert: By=x;Hash=y\r\nx_forwarded_client.cert: z\r\nX-SSL-Client-Verify: SUCCESS\r\n";
    let answer = Client::as_client(&sidecar, &leaf)
        .send(format!(
            "GET /who HTTP/1.1\r\nHost: localhost\r\n{forged}Connection: close\r\n\r\n"
        ))
        .await;
    assert_eq!(answer.status, 200);
    let head = app.heads().remove(0).to_lowercase();
    let fields: Vec<_> = head
        .lines()
        .filter(|line| line.contains("client"))
        .collect();
    let wanted = format!(
        "x-forwarded-client-cert: hash={};subject=\"o=corp\\; \\22by=evil\\22\\, inc,cn=web\";uri={uri};dns=web.corp.test;dns=www.corp.test",
        leaf.sha256()
    );
    assert_eq!(fields, [&*wanted]);
    let record = sidecar.exchange("/who").await;
    assert_eq!(record["client_id"], uri);
}

#[tokio::test]
async fn required_optional_and_off_differ_in_who_comes_in() {
    let app = hello("hi").await;
    let ca = Ca::named("client CA");
    let (known, stranger) = (
        ca.client("a", &[], 1),
        Ca::named("stranger").client("b", &[], 1),
    );
    let files = [("ca.crt", &*ca.pem)];
    for (mode, without) in [("required", false), ("optional", true), ("off", true)] {
        let sidecar = Sidecar::start_beside(&app, &files, &["--client-auth", mode]).await;
        assert_eq!(
            Client::as_client(&sidecar, &known)
                .get("/known")
                .await
                .status,
            200
        );
        let id = &sidecar.exchange("/known").await["client_id"];
        // A client that is not asked shows nothing.
        assert_eq!(id.is_null(), mode == "off", "{mode}: {id}");
        if without {
            assert_eq!(Client::h1(&sidecar).get("/").await.status, 200, "{mode}");
        } else {
            Client::h1(&sidecar).is_refused().await;
            let detail = refusal(&sidecar, "client_certificate_missing").await;
            assert!(detail.contains("--client-auth"), "{detail}");
        }
        if mode != "off" {
            // Shown and refused is refused, be it required or not.
            Client::as_client(&sidecar, &stranger).is_refused().await;
            let detail = refusal(&sidecar, "client_issuer_unknown").await;
            assert!(
                detail.contains("unknown CA: issuer=CN=stranger"),
                "{detail}"
            );
        }
    }
    assert!(
        app.heads()
            .iter()
            .all(|head| !head.starts_with("GET /refused"))
    );
}

#[tokio::test]
async fn a_refused_client_is_told_of_in_plain_words() {
    let app = hello("hi").await;
    let ca = Ca::named("client CA");
    let crl = ca.crl(&[13], tomorrow());
    let files = [("ca.crt", &*ca.pem), ("ca.crl", &*crl)];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.crl");
    std::fs::write(&path, &crl).unwrap();
    let args = [
        "--client-auth",
        "required",
        "--allow-san",
        "URI:spiffe://corp.test/*",
        "--allow-san",
        "DNS:*.corp.test",
        "--client-crl",
        path.to_str().unwrap(),
    ];
    let sidecar = Sidecar::start_beside(&app, &files, &args).await;
    let uri = "spiffe://corp.test/web";
    assert_eq!(
        Client::as_client(&sidecar, &ca.client("a", &[uri], 12))
            .get("/")
            .await
            .status,
        200
    );
    let dated = |from: OffsetDateTime, to: OffsetDateTime| {
        ca.leaf_with(&["a.corp.test"], |params| {
            params.not_before = from;
            params.not_after = to;
        })
    };
    let now = OffsetDateTime::now_utc();
    let server = ca.leaf_with(&["a.corp.test"], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (leaf, reason, words) in [
        (
            ca.client("revoked", &[uri], 13),
            "client_certificate_revoked",
            "is revoked",
        ),
        (
            ca.client("misnamed", &["spiffe://other.test/web"], 14),
            "client_name_not_allowed",
            "URI:spiffe://other.test/web",
        ),
        (
            dated(now - Duration::days(9), now - Duration::days(2)),
            "client_certificate_expired",
            "expired at 2",
        ),
        (
            dated(now + Duration::days(2), now + Duration::days(9)),
            "client_certificate_not_yet_valid",
            "not valid yet",
        ),
        (
            server,
            "client_certificate_invalid",
            "not for client authentication",
        ),
    ] {
        Client::as_client(&sidecar, &leaf).is_refused().await;
        let detail = refusal(&sidecar, reason).await;
        assert!(detail.contains(words), "{detail}");
    }
    let metrics = sidecar.probe("/metrics").await.text();
    assert!(
        metrics.contains("reason=\"client_certificate_revoked\""),
        "{metrics}"
    );
    assert_eq!(app.heads().len(), 1);
}

#[tokio::test]
async fn a_chain_with_an_intermediate_needs_a_crl_of_every_ca_in_it() {
    let app = hello("hi").await;
    let root = Ca::named("root");
    let middle = root.intermediate("middle");
    let leaf = middle.client("a", &[], 5);
    let bundle = format!("{}{}", root.pem, middle.pem);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crl");
    std::fs::write(&path, root.crl(&[], tomorrow())).unwrap();
    let args = [
        "--client-auth",
        "required",
        "--client-crl",
        path.to_str().unwrap(),
    ];
    let sidecar = Sidecar::start_beside(&app, &[("ca.crt", &bundle)], &args).await;
    let client = Client::as_client(&sidecar, &leaf);
    client.is_refused().await;
    let detail = refusal(&sidecar, "client_revocation_unknown").await;
    assert!(
        detail.contains("no CRL covers") && detail.contains("CN=middle"),
        "{detail}"
    );
    let degraded = sidecar.admin("/status").await.json()["degraded"].to_string();
    assert!(degraded.contains("no CRL of the client CA"), "{degraded}");

    let both = format!(
        "{}{}",
        root.crl(&[], tomorrow()),
        middle.crl(&[6], tomorrow())
    );
    std::fs::write(&path, both).unwrap();
    eventually("let in", async || client.connect().await.ok()).await;
    eventually("the trust that covers all", async || {
        (sidecar.admin("/status").await.json()["degraded"] == serde_json::json!([])).then_some(())
    })
    .await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn another_client_ca_lets_others_in_without_a_restart() {
    let app = hello("hi").await;
    let (one, two) = (Ca::named("one"), Ca::named("two"));
    let mut sidecar = requiring(&app, &one).await;
    let (old, new) = (one.client("old", &[], 1), two.client("new", &[], 1));
    assert_eq!(Client::as_client(&sidecar, &old).get("/").await.status, 200);
    sidecar.swap_beside(&[("ca.crt", &two.pem)]);
    let record = sidecar
        .record("the change", |record| {
            let detail = record["detail"].as_str().unwrap_or_default();
            record["result"] == "published" && detail.contains("no longer trusted")
        })
        .await;
    assert!(
        record["detail"].as_str().unwrap().contains("CN=one"),
        "{record}"
    );
    Client::as_client(&sidecar, &old).is_refused().await;
    assert_eq!(Client::as_client(&sidecar, &new).get("/").await.status, 200);
    let certs = sidecar.admin("/certs").await.json();
    assert_eq!(certs["client_ca"][0]["subject"], "CN=two");
    assert_eq!(certs["client_auth"]["required"], true);
    let metrics = sidecar.probe("/metrics").await.text();
    assert!(metrics.contains("element=\"client_ca\""), "{metrics}");
}

#[tokio::test]
async fn a_bad_ca_bundle_or_crl_is_refused_and_the_old_trust_kept() {
    let app = hello("hi").await;
    let ca = Ca::named("client CA");
    let mut holder = crate::support::Secret::empty();
    let crl = ca.crl(&[], tomorrow());
    holder.swap_all(&[("ca.crt", &ca.pem), ("ca.crl", &crl)]);
    let (ca_file, crl_file) = (holder.file("ca.crt"), holder.file("ca.crl"));
    let args = [
        "--client-auth",
        "required",
        "--client-ca",
        ca_file.to_str().unwrap(),
        "--client-crl",
        crl_file.to_str().unwrap(),
    ];
    let sidecar = Sidecar::start(&app, &args).await;
    let client = Client::as_client(&sidecar, &ca.client("a", &[], 1));
    let stranger = Ca::named("client CA");
    let ended = ca.crl(&[], OffsetDateTime::now_utc() - Duration::hours(1));
    let half = &crl[..crl.len() / 2];
    // One that is whole, and one that is none: half a trust is no trust.
    let one_bad = format!(
        "{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ca.pem
    );
    for (bundle, list, reason) in [
        ("", &*crl, "empty_ca"),
        ("no PEM at all", &*crl, "empty_ca"),
        (&ca.pem[..ca.pem.len() / 2], &*crl, "malformed"),
        (&*one_bad, &*crl, "malformed"),
        (&*ca.pem, "garbage", "malformed"),
        (&*ca.pem, "", "malformed"),
        (&*ca.pem, half, "malformed"),
        (&*ca.pem, "0\u{1}\u{1}", "malformed"),
        // The right name, another key.
        (&*ca.pem, &*stranger.crl(&[], tomorrow()), "crl_foreign"),
        (&*ca.pem, &*ended, "crl_expired"),
    ] {
        holder.swap_all(&[("ca.crt", bundle), ("ca.crl", list)]);
        let part = eventually("the refusal", async || {
            let certs = sidecar.admin("/certs").await.json();
            let part = certs["parts"][1].clone();
            (part["last_attempt"]["reason"] == reason).then_some(part)
        })
        .await;
        assert_eq!(part["kind"], "client_ca");
        assert!(!part["disk_differs_since"].is_null(), "{part}");
        assert_eq!(client.get("/").await.status, 200, "{reason}");
    }
    // Back to what is served: nothing differs any more.
    holder.swap_all(&[("ca.crt", &ca.pem), ("ca.crl", &crl)]);
    eventually("it is the same again", async || {
        let part = sidecar.admin("/certs").await.json()["parts"][1].clone();
        (part["disk_differs_since"].is_null() && part["last_error"].is_null()).then_some(())
    })
    .await;
    let record = sidecar
        .record("the end of the failure", |record| {
            record["result"] == "unchanged"
        })
        .await;
    assert!(
        record["detail"]
            .as_str()
            .unwrap()
            .contains("is served again"),
        "{record}"
    );
    // One that is older than the one in force is taken, with a warning: somebody may have put an old file back.
    let older = ca.crl(&[], tomorrow() - Duration::hours(2));
    holder.swap_all(&[("ca.crt", &ca.pem), ("ca.crl", &older)]);
    sidecar
        .record("the warning", |record| {
            let detail = record["detail"].as_str().unwrap_or_default();
            record["result"] == "published" && detail.contains("is older than the one before")
        })
        .await;
    // A good one revokes the client without a restart.
    let revoking = ca.crl(&[1], tomorrow());
    holder.swap_all(&[("ca.crt", &ca.pem), ("ca.crl", &revoking)]);
    refused_from_now_on(&client).await;
    refusal(&sidecar, "client_certificate_revoked").await;
}

#[tokio::test]
async fn what_may_be_half_of_a_write_is_not_believed_to_be_all() {
    let app = hello("hi").await;
    let (one, two) = (Ca::named("one"), Ca::named("two"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clients.pem");
    let both = format!("{}{}", one.pem, two.pem);
    fs::write(&path, &both).unwrap();
    let args = [
        "--client-auth",
        "required",
        "--client-ca",
        path.to_str().unwrap(),
    ];
    let sidecar = Sidecar::start(&app, &args).await;
    let client = Client::as_client(&sidecar, &two.client("b", &[], 1));
    let before = sidecar.admin("/certs").await.json();
    // In two halves, with a pause: cut between two blocks, the first half is a good bundle by itself. And once more, when
    // it has been seen before.
    for times in 1..=2 {
        fs::write(&path, &one.pem).unwrap();
        eventually("it is not believed", async || {
            let mut records = sidecar.records();
            records.retain(|record| record["reason"] == "unsettled");
            let detail = records.last()?["detail"].as_str()?.to_owned();
            assert!(detail.contains("CN=two"), "{detail}");
            (records.len() == times).then_some(())
        })
        .await;
        fs::write(&path, &both).unwrap();
        eventually("it is what it was", async || {
            let part = sidecar.admin("/certs").await.json()["parts"][1].clone();
            part["disk_differs_since"].is_null().then_some(())
        })
        .await;
    }
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(
        sidecar.admin("/certs").await.json()["generation"],
        before["generation"]
    );
    // Meant so, it is believed soon.
    fs::write(&path, &one.pem).unwrap();
    refused_from_now_on(&client).await;
}

#[tokio::test]
async fn a_file_renamed_into_place_says_nothing_of_another_that_is_written() {
    let app = hello("hi").await;
    let (one, two) = (Ca::named("one"), Ca::named("two"));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let both = format!("{}{}", one.pem, two.pem);
    let ca = Ca::new();
    let (leaf, renewed) = (ca.leaf(), ca.leaf());
    for (name, text) in [
        ("tls.crt", &leaf.certificate),
        ("tls.key", &leaf.key),
        ("ca.crt", &both),
    ] {
        fs::write(file(name), text).unwrap();
    }
    let args = [
        "--cert-dir",
        folder.path().to_str().unwrap(),
        "--client-auth",
        "required",
    ];
    // The first folder has no CA of its own to offer: it is named.
    let args = [&args[..], &["--client-ca"]].concat();
    let path = file("ca.crt").display().to_string();
    let args = [&args[..], &[path.as_str()]].concat();
    let sidecar = Sidecar::start(&app, &args).await;
    let client = Client::as_client(&sidecar, &two.client("b", &[], 1));
    let before = sidecar.admin("/certs").await.json()["generation"].clone();
    fs::write(file("ca.crt"), &one.pem).unwrap();
    for (name, text) in [("tls.crt", &renewed.certificate), ("tls.key", &renewed.key)] {
        fs::write(file("new"), text).unwrap();
        fs::rename(file("new"), file(name)).unwrap();
    }
    sidecar
        .record("it is not believed", |record| {
            record["reason"] == "unsettled"
        })
        .await;
    assert_eq!(sidecar.admin("/certs").await.json()["generation"], before);
    assert_eq!(client.get("/").await.status, 200);
    fs::write(file("ca.crt"), &both).unwrap();
    eventually("all of it", async || {
        let part = sidecar.admin("/certs").await.json()["parts"][1].clone();
        (part["chain"][0]["sha256"] == renewed.sha256()).then_some(())
    })
    .await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_broken_crl_elsewhere_does_not_stop_the_renewal_of_the_certificate() {
    let app = hello("hi").await;
    let ca = Ca::named("client CA");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crl");
    fs::write(&path, ca.crl(&[], tomorrow())).unwrap();
    let args = [
        "--client-auth",
        "required",
        "--client-crl",
        path.to_str().unwrap(),
    ];
    let mut sidecar = Sidecar::start_beside(&app, &[("ca.crt", &ca.pem)], &args).await;
    fs::write(&path, "garbage").unwrap();
    sidecar
        .record("refused", |record| record["reason"] == "malformed")
        .await;
    sidecar.leaf = sidecar.ca.leaf();
    sidecar.swap_beside(&[("ca.crt", &ca.pem)]);
    let client = Client::as_client(&sidecar, &ca.client("a", &[], 1));
    client.sees("the new certificate", &sidecar.leaf).await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_connection_made_before_its_ca_was_removed_is_not_let_in_after() {
    let app = hello("hi").await;
    let (one, two) = (Ca::named("one"), Ca::named("two"));
    let mut sidecar = requiring(&app, &one).await;
    let client = Client::as_client(&sidecar, &one.client("a", &[], 1));
    let early = TcpStream::connect(sidecar.https).await.unwrap();
    // It was accepted: the one after it is.
    assert_eq!(client.get("/").await.status, 200);
    eventually("it has its generation", async || {
        let metrics = sidecar.probe("/metrics").await.text();
        metrics
            .contains("portcullis_connections{state=\"handshake\"} 1")
            .then_some(())
    })
    .await;
    sidecar.swap_beside(&[("ca.crt", &two.pem)]);
    eventually("the change", async || {
        (sidecar.admin("/certs").await.json()["generation"] == 2).then_some(())
    })
    .await;
    if let Ok(mut stream) = client.connect_on(early).await {
        let _ = stream
            .write_all(b"GET /refused HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert!(crate::support::read_answer(&mut stream).await.is_err());
    }
    refusal(&sidecar, "client_issuer_unknown").await;
}

/// Waits until new connections are refused.
async fn refused_from_now_on(client: &Client) {
    eventually("refused", async || {
        let mut stream = client.connect().await.ok()?;
        let _ = tokio::io::AsyncWriteExt::write_all(
            &mut stream,
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await;
        match crate::support::read_answer(&mut stream).await {
            Ok(_) => None,
            Err(_) => Some(()),
        }
    })
    .await;
}

#[tokio::test]
async fn an_exempt_path_is_open_and_every_other_spelling_of_it_is_not() {
    let app = hello("hi").await;
    let ca = Ca::new();
    let args = [
        "--client-auth",
        "required",
        "--client-auth-exempt",
        "/healthz",
    ];
    let sidecar = Sidecar::start_beside(&app, &[("ca.crt", &ca.pem)], &args).await;
    let anybody = Client::h1(&sidecar);
    let tricky = "GET /healthz?x=1 HTTP/1.1\r\nHost: localhost\r\nX-Original-URL: /admin\r\nX_Rewrite_Url: /admin\r\nConnection: close\r\n\r\n";
    assert_eq!(anybody.send(tricky).await.status, 200);
    for path in [
        "/",
        "/healthz/",
        "//healthz",
        "/healthz/../secret",
        "/%68ealthz",
        "/Healthz",
        "/healthz;x",
    ] {
        let answer = anybody.get(path).await;
        assert_eq!(answer.status, 403, "{path}");
    }
    let record = sidecar.exchange("/healthz/").await;
    assert_eq!(record["reason"], "client_certificate_missing");
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    assert_eq!(h2.exchange(h2_get("/healthz"), None).await.unwrap().0, 200);
    assert_eq!(h2.exchange(h2_get("/secret"), None).await.unwrap().0, 403);
    let known = Client::as_client(&sidecar, &ca.client("a", &[], 1));
    assert_eq!(known.get("/secret").await.status, 200);
    let stranger: Leaf = Ca::named("stranger").client("b", &[], 1);
    Client::as_client(&sidecar, &stranger).is_refused().await;
    let heads = app.heads();
    assert_eq!(heads.len(), 3, "{heads:?}");
    let first = heads[0].to_lowercase();
    assert!(!first.contains("/admin"), "{first}");
}
