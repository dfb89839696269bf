use std::net::SocketAddr;
use std::time::Duration;

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::support::{App, Client, Sidecar, h2_get, read_answer, read_until};

/// An address that refuses connections, and stays nobody else's.
fn away() -> (TcpSocket, SocketAddr) {
    let port = TcpSocket::new_v4().unwrap();
    port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = port.local_addr().unwrap();
    (port, address)
}

#[tokio::test]
async fn an_application_that_is_away_gives_503_and_says_when_to_come_back() {
    let (_port, address) = away();
    let sidecar = Sidecar::start(address, &["--connect-retry-for", "0"]).await;
    let answer = Client::h1(&sidecar).get("/away").await;
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (503, Some("1"))
    );
    assert!(
        answer.text().contains("upstream_refused"),
        "{}",
        answer.text()
    );
    let record = sidecar.exchange("/away").await;
    assert_eq!(
        (&record["status"], &record["reason"], &record["closed_by"]),
        (&503.into(), &"upstream_refused".into(), &"upstream".into())
    );
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    assert_eq!(h2.exchange(h2_get("/away"), None).await.unwrap().0, 503);
    let head = Request::head("https://localhost/away").body(()).unwrap();
    let (status, _, body) = h2.exchange(head, None).await.unwrap();
    assert_eq!((status.as_u16(), body.len()), (503, 0));
}

#[tokio::test]
async fn a_request_waits_for_an_application_that_restarts() {
    let (port, address) = away();
    let sidecar = Sidecar::start(
        address,
        &["--connect-retry-for", "20s", "--log-level", "debug"],
    )
    .await;
    let client = Client::h1(&sidecar);
    let asking = tokio::spawn(async move { client.get("/").await });
    // The first attempt has failed, the request is waiting.
    crate::support::eventually("a retry", async || {
        sidecar.log().contains("trying again").then_some(())
    })
    .await;
    let _app = App::on(port.listen(16).unwrap(), |mut talk| async move {
        talk.head().await?;
        talk.answer("200 OK", b"back").await
    });
    assert_eq!(asking.await.unwrap().text(), "back");
}

#[tokio::test]
async fn an_application_that_does_not_speak_http_gives_502() {
    for (says, reason) in [
        ("", "upstream_closed"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "upstream_closed"),
        ("junk junk junk\r\n\r\n", "upstream_malformed"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
            "upstream_malformed",
        ),
        ("HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", "upstream_malformed"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi",
            "upstream_malformed",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "upstream_malformed",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "upstream_malformed",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
            "upstream_malformed",
        ),
    ] {
        let app = App::scripted(move |mut talk| async move {
            talk.head().await?;
            talk.say(says.as_bytes()).await
        })
        .await;
        let sidecar = Sidecar::start(&app, &[]).await;
        let answer = Client::h1(&sidecar).get("/odd").await;
        assert_eq!(answer.status, 502, "{says:?}");
        assert_eq!(sidecar.exchange("/odd").await["reason"], reason, "{says:?}");
    }
}

#[tokio::test]
async fn an_application_that_never_answers_gives_504() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        while talk.stream.read_u8().await.is_ok() {}
        Ok(())
    })
    .await;
    let limits = ["--response-timeout", "200ms", "--stall-timeout", "200ms"];
    let sidecar = Sidecar::start(&app, &limits).await;
    let client = Client::h1(&sidecar);
    assert_eq!(client.get("/never").await.status, 504);
    // One that waits for the client's body is not to blame.
    let half = "POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf";
    assert_eq!(client.send(half).await.status, 408);
    assert_eq!(sidecar.exchange("/half").await["reason"], "body_timeout");
    assert_eq!(
        sidecar.exchange("/never").await["reason"],
        "upstream_timeout"
    );
}

/// The application says this and closes.
async fn cut_off(says: &'static str) -> App {
    App::scripted(move |mut talk| async move {
        talk.head().await?;
        talk.say(says.as_bytes()).await
    })
    .await
}

#[tokio::test]
async fn a_response_that_breaks_off_is_never_ended_as_if_it_were_whole() {
    for says in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
    ] {
        let app = cut_off(says).await;
        let sidecar = Sidecar::start(&app, &[]).await;

        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        stream
            .write_all(b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut seen = Vec::new();
        let end = stream.read_to_end(&mut seen).await;
        // rustls reports the end of a connection without close_notify as an error.
        assert!(
            end.is_err(),
            "the end looked orderly after {:?}",
            String::from_utf8_lossy(&seen)
        );
        assert!(!seen.ends_with(b"0\r\n\r\n"));

        let h2 = Client::new(&sidecar, &["h2"]).h2().await;
        let broken = h2.exchange(h2_get("/half"), None).await.unwrap_err();
        assert_eq!(
            broken.reason(),
            Some(h2::Reason::INTERNAL_ERROR),
            "{says:?}"
        );

        for version in ["1.1", "2"] {
            let record = sidecar
                .record("cut", |record| {
                    record["path"] == "/half" && record["http"] == version
                })
                .await;
            assert_eq!(
                (&record["reason"], &record["closed_by"]),
                (&"upstream_truncated".into(), &"upstream".into())
            );
        }
    }
}

#[tokio::test]
async fn an_http10_client_can_tell_a_broken_response_from_a_whole_one() {
    let broken =
        cut_off("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    let whole =
        cut_off("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n0\r\n\r\n")
            .await;
    for (app, is_whole) in [(&broken, false), (&whole, true)] {
        let sidecar = Sidecar::start(app, &[]).await;
        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.is_ok(), is_whole);
    }
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.answer("413 Payload Too Large", b"too much").await?;
        // Reads on without interest, as applications do that want their answer to arrive.
        while talk.stream.read_u8().await.is_ok() {}
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        .await
        .unwrap();
    stream.write_all(&[b'x'; 200_000]).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.unwrap().text(), "too much");

    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let post = Request::post("https://localhost/up").body(()).unwrap();
    let (response, _still_open) =
        h2.0.clone()
            .ready()
            .await
            .unwrap()
            .send_request(post, false)
            .unwrap();
    assert_eq!(response.await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_gets_an_answer_that_began_before() {
    const LONG: usize = 16 << 20;
    let app = App::scripted(|mut talk| async move {
        while talk.head().await?.is_some() {
            talk.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n").as_bytes())
                .await?;
            let (mut read, mut write) = talk.stream.split();
            let (mut answer, mut upload) = (tokio::io::repeat(7).take(LONG as u64), Vec::new());
            let mut all = (&mut read).take(LONG as u64);
            let (said, heard) = tokio::join!(
                tokio::io::copy(&mut answer, &mut write),
                all.read_to_end(&mut upload)
            );
            assert_eq!((said?, heard?), (LONG as u64, LONG));
        }
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--workers", "1"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    // The second one may have the same connection, which was still written to when the first answer came.
    for _ in 0..2 {
        let head = format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {LONG}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; LONG]).await.unwrap();
        stream.flush().await.unwrap();
        let answer = read_answer(&mut stream).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, LONG));
    }
    assert_eq!(app.heads().len(), 2);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_request() {
    let (gone, mut told) = tokio::sync::mpsc::unbounded_channel();
    let app = App::scripted(move |mut talk| {
        let gone = gone.clone();
        async move {
            talk.head().await?;
            // Ends when the sidecar closes the connection.
            let _ = talk.stream.read_u8().await;
            let _ = gone.send(());
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /left HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    crate::support::eventually("the app is asked", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    // Without a close_notify: the connection is cut, not ended.
    drop(stream.into_inner().0);
    tokio::time::timeout(Duration::from_secs(20), told.recv())
        .await
        .unwrap();
    let record = sidecar.exchange("/left").await;
    assert_eq!(
        (&record["status"], &record["reason"]),
        (&serde_json::Value::Null, &"client_gone".into())
    );

    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let (response, mut stream) =
        h2.0.clone()
            .ready()
            .await
            .unwrap()
            .send_request(h2_get("/reset"), true)
            .unwrap();
    crate::support::eventually("the app is asked", async || {
        (app.heads().len() == 2).then_some(())
    })
    .await;
    stream.send_reset(h2::Reason::CANCEL);
    drop(response);
    tokio::time::timeout(Duration::from_secs(20), told.recv())
        .await
        .unwrap();
    assert_eq!(sidecar.exchange("/reset").await["reason"], "client_gone");
}

#[tokio::test]
async fn a_client_that_closes_in_an_orderly_way_ends_an_endless_response() {
    let (gone, mut told) = tokio::sync::mpsc::unbounded_channel();
    let app = App::scripted(move |mut talk| {
        let gone = gone.clone();
        async move {
            talk.head().await?;
            talk.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\n\n\r\n").await?;
            let _ = talk.stream.read_u8().await;
            let _ = gone.send(());
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, b"a\n\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), told.recv())
        .await
        .unwrap();
    assert_eq!(sidecar.exchange("/events").await["reason"], "client_gone");
}

#[tokio::test]
async fn a_client_that_only_says_it_will_send_no_more_gets_its_answer() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_answer(&mut stream).await.unwrap().status, 200);
}
