use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{READ, WRITE, bearer, both, path};
use crate::support::{Answer, App, Client, Sidecar, eventually, hello, read_answer, send};

/// Sends this again and again from many connections until told to stop; what was answered, and how.
fn flood(admin: SocketAddr, request: impl Fn(usize) -> String + Send + Sync + 'static) -> Flood {
    let (stop, request) = (Arc::new(AtomicBool::new(false)), Arc::new(request));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (stop, request) = (Arc::clone(&stop), Arc::clone(&request));
        clients.spawn(async move {
            let mut answers = Vec::new();
            while !stop.load(Ordering::Relaxed) && answers.len() < 2000 {
                answers.push(send(admin, request(client * 10_000 + answers.len())).await);
            }
            answers
        });
    }
    Flood { stop, clients }
}

struct Flood {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Vec<Answer>>,
}

impl Flood {
    async fn end(mut self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        let mut answers = Vec::new();
        while let Some(some) = self.clients.join_next().await {
            answers.extend(some.unwrap());
        }
        answers
    }
}

#[tokio::test]
async fn wrong_tokens_are_slowed_counted_and_recorded_as_a_few_and_right_ones_pass() {
    let app = hello("hi").await;
    let file = both();
    let sidecar = Sidecar::start(&app, &["--admin-token-file", path(&file)]).await;
    let flood = flood(sidecar.admin, |number| {
        let token = bearer(&format!("{number:032}"));
        format!("GET /status HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n")
    });
    eventually("they are slowed", async || {
        // Beside the flood, and each within the patience of a test.
        assert_eq!(
            sidecar
                .ask_admin("GET", "/status", &bearer(WRITE))
                .await
                .status,
            200
        );
        assert_eq!(sidecar.ask_admin("GET", "/livez", "").await.status, 200);
        assert_eq!(sidecar.probe("/livez").await.status, 200);
        let wrong = "portcullis_admin_refused_total{reason=\"token_wrong\"}";
        (sidecar.metric(wrong).await > 100).then_some(())
    })
    .await;
    let answers = flood.end().await;
    let slowed: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert!(
        slowed.len() > answers.len() / 2,
        "{} of {}",
        slowed.len(),
        answers.len()
    );
    assert_eq!(slowed[0].field("retry-after"), Some("1"));
    assert_eq!(slowed[0].field("connection"), Some("close"));
    let counted = sidecar
        .metric("portcullis_admin_refused_total{reason=\"token_wrong\"}")
        .await;
    assert_eq!(counted, answers.len() as u64);
    let records = sidecar.records();
    let told = records
        .iter()
        .filter(|record| record["reason"] == "token_wrong")
        .count();
    // One at once, and one for each ten seconds that it took.
    assert!((1..10).contains(&told), "{told} records");
}

#[tokio::test]
async fn a_flood_of_requests_hides_neither_probes_nor_the_application() {
    let app = hello("hi").await;
    let file = both();
    let sidecar = Sidecar::start(&app, &["--admin-token-file", path(&file)]).await;
    // Nobody is as fast as that on every machine: the bucket is emptied by many requests on one connection.
    let flood = flood(sidecar.admin, |_| {
        let request = "GET /config HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
        format!("{request}GET /config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    });
    let client = Client::h1(&sidecar);
    eventually("they are slowed", async || {
        assert_eq!(sidecar.probe("/livez").await.status, 200);
        assert_eq!(sidecar.probe("/metrics").await.status, 200);
        assert_eq!(sidecar.admin("/livez").await.status, 200);
        assert_eq!(
            sidecar
                .ask_admin("GET", "/status", &bearer(READ))
                .await
                .status,
            200
        );
        assert_eq!(client.get("/").await.status, 200);
        let refused = "portcullis_admin_refused_total{reason=\"too_many\"}";
        (sidecar.metric(refused).await > 0).then_some(())
    })
    .await;
    flood.end().await;
}

#[tokio::test]
async fn connections_that_ask_nothing_or_only_for_health_take_no_place_from_who_works() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        std::future::pending().await
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let body = format!("{{\"url\":\"{app}\",\"probe_path\":\"/\"}}");
    let mut changing = TcpStream::connect(sidecar.admin).await.unwrap();
    changing
        .write_all(format!("PUT /target HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).as_bytes())
        .await
        .unwrap();
    eventually("it is probed", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    let mut others = Vec::new();
    for number in 0..200 {
        let mut other = TcpStream::connect(sidecar.admin).await.unwrap();
        if number % 2 == 0 {
            let _ = other
                .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await;
            let _ = other.read(&mut [0; 1024]).await;
        }
        others.push(other);
    }
    // The application never answers, and that is what the client is told.
    let answer = read_answer(&mut changing).await.unwrap();
    assert_eq!(
        (answer.status, &answer.json()["reason"]),
        (422, &"probe_failed".into())
    );
}
