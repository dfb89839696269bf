use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::AsyncReadExt;
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{App, Client, Sidecar, Talk, eventually};

/// Counts the connections it is given, and handles each by `script`, which is told its number, from 1 on.
async fn counting<F, W>(script: F) -> (App, Arc<AtomicUsize>)
where
    F: Fn(Talk, usize) -> W + Send + Sync + 'static,
    W: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    let app =
        App::scripted(move |talk| script(talk, counted.fetch_add(1, Ordering::Relaxed) + 1)).await;
    (app, count)
}

/// Answers with the body. Asked for what is stale on a connection that was used before, it reads all of that, and closes.
async fn forgetful() -> (App, Arc<AtomicUsize>) {
    counting(|mut talk, _| async move {
        let mut is_used = false;
        while let Some(head) = talk.head().await? {
            let body = talk.body(&head).await?;
            if is_used && head.contains(" /stale") {
                break;
            }
            talk.answer("200 OK", &body).await?;
            is_used = true;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_short_idempotent_request_is_sent_again_with_its_body() {
    let (app, connections) = forgetful().await;
    let sidecar = Sidecar::start(&app, &["--workers", "1"]).await;
    let client = Client::h1(&sidecar);
    let framed = |method: &str, path: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n{more}\r\nhello")
    };
    assert_eq!(client.get("/first").await.status, 200);
    for (number, (method, more)) in [
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "Idempotency-Key: 4711\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/stale-{number}");
        let answer = client.send(framed(method, &path, more)).await;
        assert_eq!((answer.status, &*answer.text()), (200, "hello"), "{method}");
        assert_eq!(connections.load(Ordering::Relaxed), number + 2);
        let record = sidecar.exchange(&path).await;
        assert_eq!(
            (&record["retries"], &record["bytes_in"], &record["reason"]),
            (&1.into(), &5.into(), &"".into())
        );
    }
    // Nobody has said that this one may be done twice.
    let seen = app.heads().len();
    let answer = client.send(framed("POST", "/stale-once", "")).await;
    assert_eq!(answer.status, 502);
    let record = sidecar.exchange("/stale-once").await;
    assert_eq!(
        (&record["retries"], &record["reason"]),
        (&0.into(), &"upstream_closed".into())
    );
    assert_eq!(app.heads().len(), seen + 1);
}

#[tokio::test]
async fn a_short_idempotent_request_of_http2_is_sent_again_too() {
    let (app, _) = forgetful().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    for path in ["/first", "/stale"] {
        let put = Request::put(format!("https://localhost{path}"))
            .header("content-length", "5")
            .body(())
            .unwrap();
        let body = Some(Bytes::from_static(b"hello"));
        let (status, _, body) = h2.exchange(put, body).await.unwrap();
        assert_eq!((status.as_u16(), &body[..]), (200, &b"hello"[..]));
    }
    assert_eq!(sidecar.exchange("/stale").await["retries"], 1);
}

#[tokio::test]
async fn a_connection_is_let_go_before_the_application_would_close_it() {
    let (app, connections) = counting(|mut talk, _| async move {
        while let Some(head) = talk.head().await? {
            talk.body(&head).await?;
            let says = if head.contains("/short") { 1 } else { 5 };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nKeep-Alive: timeout={says}\r\nContent-Length: 2\r\n\r\nhi"
            );
            talk.say(answer.as_bytes()).await?;
        }
        Ok(())
    })
    .await;
    let limits = ["--pool-idle", "1h", "--workers", "1"];
    let sidecar = Sidecar::start(&app, &limits).await;
    let client = Client::h1(&sidecar);
    for _ in 0..2 {
        assert_eq!(client.get("/long").await.status, 200);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    for _ in 0..4 {
        assert_eq!(client.get("/short").await.status, 200);
    }
    let metrics = || async { sidecar.probe("/metrics").await.text() };
    // It lasts half of the second that was announced, and is closed by us.
    eventually("it is let go", async || {
        let idle = "portcullis_upstream_connections{state=\"idle\"} 0";
        metrics().await.contains(idle).then_some(())
    })
    .await;
}

#[tokio::test]
async fn how_long_an_application_keeps_connections_is_learnt() {
    const KEEPS: Duration = Duration::from_millis(600);
    let (app, connections) = counting(|mut talk, _| async move {
        // Closes what has been unused for too long, and does not say so before.
        while let Ok(head) = timeout(KEEPS, talk.head()).await {
            let Some(head) = head? else { break };
            talk.body(&head).await?;
            talk.answer("200 OK", b"hi").await?;
        }
        Ok(())
    })
    .await;
    let limits = ["--pool-idle", "1h", "--workers", "1"];
    let sidecar = Sidecar::start(&app, &limits).await;
    let client = Client::h1(&sidecar);
    // It is us who close once the habit is known: the application then sees the end before its time is over.
    let mut rounds = 0;
    eventually("it is learnt", async || {
        rounds += 1;
        assert_eq!(client.get("/").await.status, 200);
        // Long enough for the application to close it, and to be seen doing so.
        tokio::time::sleep(KEEPS * 3).await;
        sidecar
            .log()
            .contains("keeps unused connections")
            .then_some(())
    })
    .await;
    assert!(rounds <= 8, "{rounds}");
    assert!(connections.load(Ordering::Relaxed) >= 2);
}

#[tokio::test]
async fn what_comes_behind_a_response_never_gets_into_the_next() {
    for (what, says) in [
        (
            "more than its length",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ),
        (
            "a body where there is none",
            "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil",
        ),
        (
            "a body of 304",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        ),
    ] {
        let (app, connections) = counting(move |mut talk, number| async move {
            talk.head().await?;
            if number > 1 {
                return talk.answer("200 OK", b"good").await;
            }
            talk.say(says.as_bytes()).await?;
            // Stays open: it is not its end that saves the next request.
            let mut rest = Vec::new();
            talk.stream.read_to_end(&mut rest).await?;
            assert!(rest.is_empty(), "it is used again: {rest:?}");
            Ok(())
        })
        .await;
        let sidecar = Sidecar::start(&app, &[]).await;
        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        for expected in ["", "good"] {
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .await
                .unwrap();
            let answer = crate::support::read_answer(&mut stream).await.unwrap();
            if !expected.is_empty() {
                assert_eq!(answer.text(), expected, "{what}");
            }
        }
        assert_eq!(connections.load(Ordering::Relaxed), 2, "{what}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_application_resets_costs_no_request() {
    let (app, connections) = counting(|mut talk, number| async move {
        while talk.head().await?.is_some() {
            talk.answer("200 OK", b"x").await?;
            if number == 1 {
                // Idle, and reset.
                talk.stream.set_zero_linger()?;
                return Ok(());
            }
        }
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--workers", "1"]).await;
    let client = Client::h1(&sidecar);
    assert_eq!(client.get("/first").await.status, 200);
    for number in 0..3 {
        assert_eq!(client.get(&format!("/{number}")).await.status, 200);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_application_that_closes_hundreds_of_kept_connections_at_once_costs_no_request() {
    const MANY: usize = 300;
    let together = Arc::new(Barrier::new(MANY));
    let (restart, restarts) = watch::channel(false);
    let closed = Arc::<AtomicUsize>::default();
    let gone = Arc::clone(&closed);
    let (app, connections) = counting(move |mut talk, number| {
        let (together, mut restarts) = (Arc::clone(&together), restarts.clone());
        let gone = Arc::clone(&gone);
        async move {
            talk.head().await?;
            if number > MANY {
                return talk.answer("200 OK", b"new").await;
            }
            together.wait().await;
            talk.answer("200 OK", b"old").await?;
            let _ = restarts.wait_for(|restarts| *restarts).await;
            drop(talk);
            gone.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--workers", "1"]).await;
    let client = Client::h1(&sidecar);
    let mut asking = JoinSet::new();
    for _ in 0..MANY {
        let client = client.clone();
        asking.spawn(async move { client.get("/").await.text() });
    }
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap(), "old");
    }
    restart.send(true).unwrap();
    eventually("all are closed", async || {
        (closed.load(Ordering::Relaxed) == MANY).then_some(())
    })
    .await;
    // What is not to be sent again is sent once, and not on one of those.
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(client.send(post).await.text(), "new");
    assert_eq!(connections.load(Ordering::Relaxed), MANY + 1);
}
