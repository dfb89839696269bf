use std::fs;

use rustls::pki_types::CertificateDer;

use crate::support::{Ca, Client, Secret, Sidecar, eventually, h2_get, hello};

/// A sidecar with its default certificate for `localhost`, and others of the same CA.
async fn start(app: &crate::support::App, others: &[&Secret]) -> Sidecar {
    let folders: Vec<_> = others
        .iter()
        .map(|secret| secret.path().display().to_string())
        .collect();
    let args: Vec<_> = folders
        .iter()
        .flat_map(|folder| ["--cert-dir", folder])
        .collect();
    Sidecar::start(app, &args).await
}

/// What a client is shown who asks for a name; it takes whatever it is.
async fn shown(
    sidecar: &Sidecar,
    name: &'static str,
    schemes: &[&str],
) -> Option<CertificateDer<'static>> {
    Client::curious(sidecar, schemes, &["http/1.1"])
        .asking(name)
        .connect()
        .await
        .ok()
        .map(|stream| stream.get_ref().1.peer_certificates().unwrap()[0].clone())
}

#[tokio::test]
async fn the_name_decides_exactly_then_by_wildcard_then_the_first_is_shown() {
    let app = hello("hi").await;
    let ca = Ca::new();
    let (wild, exact) = (
        ca.leaf_for(&["*.shop.test"]),
        ca.leaf_for(&["api.shop.test"]),
    );
    let (one, two) = (Secret::holding(&wild), Secret::holding(&exact));
    let sidecar = start(&app, &[&one, &two]).await;
    for (name, der) in [
        ("localhost", &sidecar.leaf.der),
        ("www.shop.test", &wild.der),
        ("WWW.Shop.Test", &wild.der),
        ("api.shop.test", &exact.der),
        ("a.b.shop.test", &sidecar.leaf.der),
        ("shop.test", &sidecar.leaf.der),
        ("unknown.test", &sidecar.leaf.der),
        ("127.0.0.1", &sidecar.leaf.der),
    ] {
        assert_eq!(
            shown(&sidecar, name, &[]).await.as_ref(),
            Some(der),
            "{name}"
        );
    }
}

#[tokio::test]
async fn rsa_and_ecdsa_stand_side_by_side_for_one_name() {
    let app = hello("hi").await;
    let ca = Ca::new();
    let rsa = ca.rsa_leaf(&["localhost", "127.0.0.1"]);
    let beside = Secret::holding(&rsa);
    let sidecar = start(&app, &[&beside]).await;
    let ecdsa = sidecar.leaf.der.clone();
    assert_eq!(
        shown(&sidecar, "localhost", &[]).await.as_ref(),
        Some(&ecdsa)
    );
    assert_eq!(
        shown(&sidecar, "localhost", &["rsa"]).await,
        Some(rsa.der.clone())
    );
    assert_eq!(
        shown(&sidecar, "unknown.test", &["rsa"]).await,
        Some(rsa.der)
    );
    assert_eq!(
        shown(&sidecar, "unknown.test", &["ecdsa"]).await,
        Some(ecdsa)
    );
    // Each was seen with the eyes of a client that can verify it.
    let certs = eventually("both were looked at", async || {
        let certs = sidecar.admin("/certs").await.json();
        let is_seen = |at: usize| certs["parts"][at]["last_attempt"]["seen"] == "served";
        (is_seen(0) && is_seen(1)).then_some(certs)
    })
    .await;
    assert_eq!(certs["parts"][1]["chain"][0]["key"], "RSA 2048");
}

#[tokio::test]
async fn a_certificate_is_seen_by_the_name_that_only_it_has() {
    let app = hello("hi").await;
    let ca = Ca::new();
    let one = Secret::holding(&ca.leaf_for(&["both.test", "one.test"]));
    let two = Secret::holding(&ca.leaf_for(&["both.test", "two.test"]));
    let all = Secret::holding(&ca.leaf_for(&["both.test"]));
    let sidecar = start(&app, &[&one, &two, &all]).await;
    eventually("all were looked at", async || {
        let certs = sidecar.admin("/certs").await.json();
        let seen = |at: usize| certs["parts"][at]["last_attempt"]["seen"].clone();
        // The last is never shown: that is no failure, and is not said to be well either.
        ((0..3).all(|at| seen(at) == "served") && seen(3) == "unverified").then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_reloads_on_its_own_and_a_broken_one_does_not_stop_the_others() {
    let app = hello("hi").await;
    let ca = Ca::new();
    let mut broken = Secret::empty();
    let mut good = Secret::holding(&ca.leaf_for(&["good.test"]));
    let sidecar = start(&app, &[&broken, &good]).await;
    assert_eq!(sidecar.probe("/readyz").await.status, 200);
    let degraded = sidecar.admin("/status").await.json()["degraded"].to_string();
    assert!(
        degraded.contains("is the Secret mounted here"),
        "{degraded}"
    );
    let metrics = sidecar.probe("/metrics").await.text();
    let oldest = "portcullis_certificate_last_reload_success_seconds 0";
    assert!(metrics.contains(oldest), "{metrics}");
    // Nobody has that name yet, so it is shown what everybody is shown.
    assert_eq!(
        shown(&sidecar, "late.test", &[]).await.as_ref(),
        Some(&sidecar.leaf.der)
    );

    let renewed = ca.leaf_for(&["good.test"]);
    good.swap(&renewed);
    eventually("the good one is renewed", async || {
        (shown(&sidecar, "good.test", &[]).await.as_ref() == Some(&renewed.der)).then_some(())
    })
    .await;
    let late = ca.leaf_for(&["late.test"]);
    broken.swap(&late);
    eventually("the late one comes", async || {
        (shown(&sidecar, "late.test", &[]).await.as_ref() == Some(&late.der)).then_some(())
    })
    .await;
    assert_eq!(shown(&sidecar, "good.test", &[]).await, Some(renewed.der));

    // Broken again: what it served is still served, and the metrics say which is behind.
    broken.swap_files("", &late.key);
    let name = broken.path().display().to_string();
    let behind = format!("portcullis_certificate_disk_differs{{name=\"{name}\"}} ");
    eventually("the metric says it", async || {
        let metrics = sidecar.probe("/metrics").await.text();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&behind).map(str::to_owned));
        (line?.parse::<f64>().unwrap() > 0.0).then_some(())
    })
    .await;
    assert_eq!(shown(&sidecar, "late.test", &[]).await, Some(late.der));
    let metrics = sidecar.probe("/metrics").await.text();
    let good = good.path().display();
    assert!(
        metrics.contains(&format!(
            "portcullis_certificate_disk_differs{{name=\"{good}\"}} 0"
        )),
        "{metrics}"
    );

    // How it went with all of them, newest first.
    let history = sidecar.admin("/certs").await.json()["history"].clone();
    let history = history.as_array().unwrap();
    let times: Vec<_> = history.iter().map(|past| past["time"].as_str()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older));
    let last: Vec<_> = history[..3]
        .iter()
        .map(|past| (past["source"].clone(), past["result"].clone()))
        .collect();
    let (broken, good) = (name, good.to_string());
    let wanted = [
        (&broken, "failed"),
        (&broken, "published"),
        (&good, "published"),
    ];
    let wanted = wanted.map(|(source, result)| (source.as_str().into(), result.into()));
    assert_eq!(last, wanted, "{history:?}");
    let generation = |at: usize| history[at]["generation"].as_u64().unwrap();
    assert_eq!(generation(0), generation(1), "a failure changes nothing");
    assert_eq!(generation(1), generation(2) + 1);
    assert!(
        metrics.contains(&format!(
            "portcullis_certificate_not_after_seconds{{name=\"{good}\",element=\"leaf\"}}"
        )),
        "{metrics}"
    );
}

#[tokio::test]
async fn without_the_default_certificate_only_the_names_that_are_there_are_served() {
    let app = hello("hi").await;
    let other = Ca::new().leaf_for(&["other.test"]);
    let folder = Secret::holding(&other);
    let path = folder.path().display().to_string();
    let args = ["--cert-dir", &path];
    let mut sidecar = Sidecar::start_with(&app, &args, |secret| {
        fs::remove_dir_all(secret.path()).unwrap();
    })
    .await;
    eventually("ready for the one name", async || {
        (sidecar.probe("/readyz").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(shown(&sidecar, "other.test", &[]).await, Some(other.der));
    // Fail closed: never another name's certificate.
    assert_eq!(shown(&sidecar, "localhost", &[]).await, None);
    let record = sidecar
        .record("refused", |record| record["kind"] == "handshake")
        .await;
    assert_eq!(record["reason"], "no_certificate");
    fs::create_dir(sidecar.secret.path()).unwrap();
    let leaf = sidecar.leaf.clone();
    sidecar.secret.swap(&leaf);
    eventually("the default", async || {
        (shown(&sidecar, "localhost", &[]).await.as_ref() == Some(&leaf.der)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_authority_of_another_certificate_than_the_one_shown_is_misdirected() {
    let app = hello("hi").await;
    let other = Secret::holding(&Ca::new().leaf_for(&["*.other.test"]));
    let sidecar = start(&app, &[&other]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let ask = async |host: &str| {
        let mut request = h2_get("/");
        *request.uri_mut() = format!("https://{host}/").parse().unwrap();
        h2.exchange(request, None).await.unwrap().0.as_u16()
    };
    assert_eq!(ask("a.other.test").await, 421);
    // Its own name, and one that no certificate has: that is nobody else's.
    assert_eq!(ask("localhost").await, 200);
    assert_eq!(ask("unknown.test").await, 200);
    let answer = Client::h1(&sidecar)
        .send("GET / HTTP/1.1\r\nHost: A.Other.Test:8443\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(answer.status, 421);
    sidecar
        .record("misdirected", |record| record["reason"] == "misdirected")
        .await;
    let (status, ..) = Client::curious(&sidecar, &[], &["h2"])
        .asking("a.other.test")
        .h2()
        .await
        .exchange(
            http::Request::get("https://a.other.test/")
                .body(())
                .unwrap(),
            None,
        )
        .await
        .unwrap();
    assert_eq!(status, 200);
}
