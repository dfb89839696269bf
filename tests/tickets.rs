use std::fs;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use time::{Duration, OffsetDateTime};

use crate::support::{Ca, Client, Leaf, Sidecar, eventually, hello};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn client(
    sidecar: &Sidecar,
    leaf: Option<&Leaf>,
    version: &'static SupportedProtocolVersion,
) -> Client {
    match leaf {
        Some(leaf) => Client::showing(sidecar, &[&leaf.der], leaf, &["http/1.1"], &[version]),
        None => Client::with_versions(sidecar, &["http/1.1"], &[version]),
    }
}

struct Seed {
    folder: tempfile::TempDir,
}

impl Seed {
    fn of(text: &str) -> Self {
        let seed = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        seed.becomes(text);
        seed
    }

    fn path(&self) -> String {
        self.folder.path().join("seed").display().to_string()
    }

    fn becomes(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }
}

const ONE: &str = "one seed of at least thirty-two random bytes\n";
const OTHER: &str = "another seed of at least thirty-two random bytes";

#[tokio::test]
async fn replicas_that_share_a_seed_resume_each_others_sessions_and_others_do_not() {
    let app = hello("hi").await;
    let (one, same, other) = (Seed::of(ONE), Seed::of(ONE.trim_end()), Seed::of(OTHER));
    let first = Sidecar::start(&app, &["--ticket-seed", &one.path()]).await;
    let replica = Sidecar::start(&app, &["--ticket-seed", &same.path()]).await;
    let stranger = Sidecar::start(&app, &["--ticket-seed", &other.path()]).await;
    let seedless = Sidecar::start(&app, &[]).await;
    for version in VERSIONS {
        let client = Client::credulous(&first, None, &[version]);
        assert!(!client.resumes().await);
        assert!(client.resumes().await);
        assert!(client.at(&replica).resumes().await, "{version:?}");
        for foreign in [&stranger, &seedless] {
            let client = Client::credulous(&first, None, &[version]);
            client.resumes().await;
            assert!(!client.at(foreign).resumes().await, "{version:?}");
        }
    }
    let certs = first.admin("/certs").await.json();
    assert_eq!(certs["ticket_keys"], "seed");
    assert_eq!(
        seedless.admin("/certs").await.json()["ticket_keys"],
        "random"
    );
    assert_eq!(certs["parts"][1]["kind"], "ticket_seed");
}

#[tokio::test]
async fn a_new_seed_is_taken_without_a_restart_and_a_short_one_refused() {
    let app = hello("hi").await;
    let seed = Seed::of(ONE);
    let sidecar = Sidecar::start(&app, &["--ticket-seed", &seed.path()]).await;
    let client = client(&sidecar, None, &TLS13);
    client.resumes().await;
    assert!(client.resumes().await);
    seed.becomes("short");
    let refused = sidecar
        .record("refused", |record| record["reason"] == "short_seed")
        .await;
    assert!(
        refused["detail"].as_str().unwrap().contains("openssl rand"),
        "{refused}"
    );
    assert!(client.resumes().await);
    // Somebody else may know the old one: what it sealed is worth nothing from now on.
    let of_seed = async || sidecar.admin("/certs").await.json()["parts"][1].clone();
    let before = of_seed().await["last_success"].clone();
    seed.becomes(OTHER);
    eventually("it is taken", async || {
        (of_seed().await["last_success"] != before).then_some(())
    })
    .await;
    assert!(!client.resumes().await);
    assert!(client.resumes().await);
    assert_eq!(sidecar.admin("/certs").await.json()["generation"], 1);
}

#[tokio::test]
async fn half_a_seed_is_not_taken_for_one() {
    let app = hello("hi").await;
    let seed = Seed::of(ONE);
    let sidecar = Sidecar::start(&app, &["--ticket-seed", &seed.path()]).await;
    let taken = || {
        let is_seed = |record: &serde_json::Value| {
            let detail = record["detail"].as_str().unwrap_or_default();
            record["result"] == "published" && detail.starts_with(&seed.path())
        };
        sidecar
            .records()
            .iter()
            .filter(|record| is_seed(record))
            .count()
    };
    fs::write(seed.path(), &OTHER[..40]).unwrap();
    sidecar
        .record("it is not believed", |record| {
            record["reason"] == "unsettled"
        })
        .await;
    fs::write(seed.path(), OTHER).unwrap();
    eventually("the whole one is taken", async || {
        (taken() > 1).then_some(())
    })
    .await;
    assert_eq!(taken(), 2);
}

#[tokio::test]
async fn a_missing_seed_costs_nothing_but_the_sharing() {
    let app = hello("hi").await;
    let seed = Seed::of(ONE);
    fs::remove_file(seed.path()).unwrap();
    let sidecar = Sidecar::start(&app, &["--ticket-seed", &seed.path()]).await;
    let client = client(&sidecar, None, &TLS13);
    client.resumes().await;
    assert!(client.resumes().await);
    let status = sidecar.admin("/status").await.json();
    assert!(status["degraded"].to_string().contains("seed"), "{status}");
    seed.becomes(ONE);
    eventually("the seed is taken", async || {
        (sidecar.admin("/certs").await.json()["ticket_keys"] == "seed").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_ticket_does_not_outlive_the_client_ca_it_was_made_under() {
    let app = hello("hi").await;
    let (ca, more) = (Ca::named("client CA"), Ca::named("another"));
    let args = ["--client-auth", "required"];
    for version in VERSIONS {
        let mut sidecar = Sidecar::start_with(&app, &args, |_| {}).await;
        sidecar.swap_beside(&[("ca.crt", &ca.pem)]);
        sidecar.ready().await;
        let leaf = ca.client("a", &["spiffe://corp.test/a"], 1);
        let client = client(&sidecar, Some(&leaf), version);
        client.resumes().await;
        assert!(client.resumes().await);
        // A renewed certificate alone does not matter.
        sidecar.leaf = sidecar.ca.leaf();
        sidecar.swap_beside(&[("ca.crt", &ca.pem)]);
        sidecar.published(2).await;
        assert!(client.resumes().await, "{version:?}");
        // Resumed, and still known by name.
        let record = sidecar
            .record("resumed", |record| record["resumed"] == true)
            .await;
        assert_eq!(record["client_id"], "spiffe://corp.test/a");

        sidecar.swap_beside(&[("ca.crt", &format!("{}{}", ca.pem, more.pem))]);
        sidecar.published(3).await;
        assert!(!client.resumes().await, "{version:?}");
        assert!(client.resumes().await, "{version:?}");
        // Its CA gone, it is not let in, with ticket or without.
        sidecar.swap_beside(&[("ca.crt", &more.pem)]);
        sidecar.published(4).await;
        client.is_refused().await;
        sidecar
            .record("refused", |record| {
                record["reason"] == "client_issuer_unknown"
            })
            .await;
    }
    assert!(
        app.heads()
            .iter()
            .all(|head| !head.starts_with("GET /refused"))
    );
}

#[tokio::test]
async fn replicas_that_trust_other_clients_do_not_resume_each_others_sessions() {
    let app = hello("hi").await;
    let seed = Seed::of(ONE);
    let (ca, more) = (Ca::named("client CA"), Ca::named("another"));
    let start = async |ca: &str, args: &[&str]| {
        let seed = seed.path();
        let mut all = vec!["--client-auth", "required", "--ticket-seed", &seed];
        all.extend(args);
        let mut sidecar = Sidecar::start_with(&app, &all, |_| {}).await;
        sidecar.swap_beside(&[("ca.crt", ca)]);
        sidecar.ready().await;
        sidecar
    };
    let both = format!("{}{}", ca.pem, more.pem);
    let reversed = format!("{}{}", more.pem, ca.pem);
    let first = start(&both, &[]).await;
    let same = start(&reversed, &[]).await;
    let narrower = start(&ca.pem, &[]).await;
    let pickier = start(&both, &["--allow-san", "spiffe://corp.test/*"]).await;
    let leaf = ca.client("a", &["spiffe://corp.test/a"], 1);
    for (sidecar, resumes) in [(&same, true), (&narrower, false), (&pickier, false)] {
        let client = Client::credulous(&first, Some(&leaf), &VERSIONS);
        client.resumes().await;
        assert_eq!(client.at(sidecar).resumes().await, resumes);
    }
}

#[tokio::test]
async fn a_resumed_client_is_judged_again_as_of_now() {
    let app = hello("hi").await;
    let ca = Ca::named("client CA");
    for version in VERSIONS {
        let mut sidecar = Sidecar::start_with(&app, &["--client-auth", "required"], |_| {}).await;
        sidecar.swap_beside(&[("ca.crt", &ca.pem)]);
        sidecar.ready().await;
        let end = OffsetDateTime::now_utc() + Duration::seconds(3);
        let leaf = ca.leaf_with(&["a.test"], |params| params.not_after = end);
        let (client, renewed) = Client::renewing(&sidecar, &leaf, version);
        client.resumes().await;
        // The ticket is good for hours, the certificate is not.
        eventually("it has expired", async || {
            (OffsetDateTime::now_utc() > end + Duration::seconds(1)).then_some(())
        })
        .await;
        client.is_refused().await;
        let record = sidecar
            .record("refused", |record| {
                record["reason"] == "client_certificate_expired"
            })
            .await;
        assert_eq!(record["kind"], "handshake");
        // Its old session does not keep it out once it has a new certificate.
        renewed.becomes(&ca.client("a", &["spiffe://corp.test/renewed"], 2));
        assert!(!client.resumes().await, "{version:?}");
        assert!(client.resumes().await, "{version:?}");
        let record = sidecar
            .record("resumed", |record| record["resumed"] == true)
            .await;
        assert_eq!(record["client_id"], "spiffe://corp.test/renewed");
    }
}
