use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::support::{Client, Sidecar, eventually, h2_get, hello, read_answer};

/// A load of so many requests a second: on kept connections, on new ones, and over HTTP/2 in turn.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: JoinSet<()>,
}

impl Load {
    fn on(sidecar: &Sidecar) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut tasks = JoinSet::new();
        for is_kept in [true, false] {
            let (client, stop, done) = (Client::h1(sidecar), Arc::clone(&stop), Arc::clone(&done));
            tasks.spawn(async move {
                let mut stream = client.connect().await.unwrap();
                let mut ticks = ticks(Duration::from_millis(15));
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    if !is_kept {
                        stream = client.connect().await.unwrap();
                    }
                    let request = b"GET /load HTTP/1.1\r\nHost: localhost\r\n\r\n";
                    stream.write_all(request).await.unwrap();
                    assert_eq!(read_answer(&mut stream).await.unwrap().text(), "Hello you!");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (h2, stopping, count) = (Client::new(sidecar, &["h2"]), stop.clone(), done.clone());
        tasks.spawn(async move {
            let h2 = h2.h2().await;
            let mut ticks = ticks(Duration::from_millis(15));
            while !stopping.load(Ordering::Relaxed) {
                ticks.tick().await;
                assert_eq!(h2.exchange(h2_get("/load"), None).await.unwrap().0, 200);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, done, tasks }
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends it; a request that failed fails the test here.
    async fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(finished) = self.tasks.join_next().await {
            finished.unwrap();
        }
        self.done()
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

#[tokio::test]
async fn two_hundred_rotations_under_load_fail_no_request_and_serve_every_generation_in_order() {
    let app = hello("Hello you!").await;
    let mut sidecar = Sidecar::start(&app, &[]).await;
    let load = Load::on(&sidecar);
    let client = Client::h1(&sidecar);
    let mut leaves = vec![sidecar.leaf.der.clone()];
    for _ in 0..200 {
        let leaf = sidecar.ca.leaf();
        sidecar.secret.swap(&leaf);
        // Nothing but the old one, then nothing but the new one.
        eventually("the new certificate", async || {
            let served = client.served().await;
            assert!(served == leaf.der || Some(&served) == leaves.last());
            (served == leaf.der).then_some(())
        })
        .await;
        leaves.push(leaf.der);
    }
    let done = load.end().await;
    assert!(done > 200, "only {done} requests");

    let certs = sidecar.admin("/certs").await.json();
    assert_eq!(certs["generation"], 201);
    let details = eventually("all audits", async || {
        let is_publication = |record: &serde_json::Value| {
            record["action"] == "certificate_reload" && record["result"] == "published"
        };
        let mut records = sidecar.records();
        records.retain(is_publication);
        (records.len() == 201).then_some(records)
    })
    .await;
    for (at, record) in details.iter().enumerate() {
        let detail = record["detail"].as_str().unwrap();
        assert!(
            detail.contains(&format!("generation {},", at + 1)),
            "{detail}"
        );
    }
    // The last one at least was not replaced before the sidecar could look.
    sidecar
        .record("the last look", |record| {
            let detail = record["detail"].as_str().unwrap_or_default();
            record["action"] == "certificate_look"
                && record["result"] == "served"
                && detail.contains(certs["chain"][0]["sha256"].as_str().unwrap())
        })
        .await;
    // Not one exchange failed, nor one handshake: the sidecar's own looks leave no record.
    assert!(sidecar.records().iter().all(|record| {
        record["kind"] == "audit" || (record["kind"] == "exchange" && record["status"] == 200)
    }));
}

#[tokio::test]
async fn the_look_at_what_is_served_counts_against_no_limit_and_works_where_clients_must_show_a_certificate()
 {
    let app = hello("hi").await;
    let args = ["--max-connections", "1", "--client-auth", "required"];
    let mut sidecar = Sidecar::start_with(&app, &args, |_| {}).await;
    let ca = sidecar.ca.pem.clone();
    let files = |leaf: &crate::support::Leaf| {
        [
            ("tls.crt".to_owned(), leaf.certificate.clone()),
            ("tls.key".to_owned(), leaf.key.clone()),
            ("ca.crt".to_owned(), ca.clone()),
        ]
    };
    for _ in 0..2 {
        let leaf = sidecar.ca.leaf();
        let files = files(&leaf);
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (&**name, &**text))
            .collect();
        sidecar.secret.swap_all(&files);
        eventually("it is seen", async || {
            let last = sidecar.admin("/certs").await.json()["last_attempt"].clone();
            (last["new"] == leaf.sha256() && last["seen"] == "served").then_some(())
        })
        .await;
        // The one place there is, held from before the second rotation.
        std::mem::forget(tokio::net::TcpStream::connect(sidecar.https).await.unwrap());
    }
    assert!(
        sidecar
            .records()
            .iter()
            .all(|record| record["kind"] == "audit"),
        "{:?}",
        sidecar.records()
    );
    let metrics = sidecar.probe("/metrics").await.text();
    assert!(
        !metrics.contains("portcullis_handshakes_total{"),
        "{metrics}"
    );
}
