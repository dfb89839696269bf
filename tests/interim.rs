use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::support::{App, Client, Sidecar, read_answer, read_until};

const POST: &[u8] =
    b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
const ASK: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[tokio::test]
async fn a_client_is_asked_for_its_body_when_the_application_asks() {
    let (ask, asks) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (may, does) = (Arc::clone(&ask), Arc::clone(&asks));
    let app = App::scripted(move |mut talk| {
        let (may, does) = (Arc::clone(&may), Arc::clone(&does));
        async move {
            // The connection is kept: one that was closed after an answer might be met by the next request.
            while let Some(head) = talk.head().await? {
                assert!(head.contains("\r\nExpect: 100-continue\r\n"), "{head}");
                does.notify_one();
                may.notified().await;
                talk.say(ASK).await?;
                let body = talk.body(&head).await?;
                talk.answer("200 OK", &body).await?;
            }
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut took = Vec::new();
    for _ in 0..3 {
        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        let began = Instant::now();
        stream.write_all(POST).await.unwrap();
        asks.notified().await;
        ask.notify_one();
        assert_eq!(read_until(&mut stream, b"\r\n\r\n").await.unwrap(), ASK);
        took.push(began.elapsed());
        stream.write_all(b"hello").await.unwrap();
        assert_eq!(read_answer(&mut stream).await.unwrap().text(), "hello");
    }
    // Asked by the application, and not because the sidecar gave up waiting; a busy machine may be slow once.
    let is_fast = took.iter().any(|took| *took < Duration::from_secs(1));
    assert!(is_fast, "{took:?}");
    assert_eq!(sidecar.exchange("/up").await["bytes_in"], 5);
}

#[tokio::test]
async fn an_application_that_never_asks_gets_the_body_after_a_second() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let began = Instant::now();
    stream.write_all(POST).await.unwrap();
    assert_eq!(read_until(&mut stream, b"\r\n\r\n").await.unwrap(), ASK);
    assert!(
        began.elapsed() >= Duration::from_millis(950),
        "{:?}",
        began.elapsed()
    );
    stream.write_all(b"hello").await.unwrap();
    assert!(
        read_answer(&mut stream)
            .await
            .unwrap()
            .text()
            .ends_with("\r\n\r\nhello")
    );
}

#[tokio::test]
async fn a_body_that_is_not_wanted_is_never_asked_for() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.answer("417 Expectation Failed", b"no").await?;
        // Not a byte of body comes before the end.
        assert_eq!(talk.stream.read_to_end(&mut Vec::new()).await?, 0);
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream.write_all(POST).await.unwrap();
    let answer = read_answer(&mut stream).await.unwrap();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (417, Some("close"))
    );
    let record = sidecar.exchange("/up").await;
    assert_eq!(
        (&record["reason"], &record["bytes_in"]),
        (&"".into(), &0.into())
    );

    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let (response, _body) =
        h2.0.clone()
            .ready()
            .await
            .unwrap()
            .send_request(expecting("/h2"), false)
            .unwrap();
    assert_eq!(response.await.unwrap().status(), 417);
    assert_eq!(sidecar.exchange("/h2").await["bytes_in"], 0);
}

fn expecting(path: &str) -> Request<()> {
    Request::post(format!("https://localhost{path}"))
        .header("expect", "100-continue")
        .body(())
        .unwrap()
}

#[tokio::test]
async fn an_expectation_without_a_body_or_of_an_old_client_is_not_passed_on() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi",
    ] {
        let seen = Client::h1(&sidecar).send(request).await.text();
        assert!(!seen.to_ascii_lowercase().contains("expect"), "{seen}");
    }
}

#[tokio::test]
async fn an_http2_client_hears_what_the_application_says_ahead_of_its_answer() {
    for scheme in ["http", "h2c"] {
        let app = if scheme == "http" {
            App::scripted(|mut talk| async move {
                while let Some(head) = talk.head().await? {
                    talk.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: y\r\n\r\n").await?;
                    talk.say(ASK).await?;
                    let body = talk.body(&head).await?;
                    talk.answer("200 OK", &body).await?;
                }
                Ok(())
            })
            .await
        } else {
            hints_over_h2().await
        };
        let sidecar = Sidecar::start(format!("{scheme}://{}", app.address), &[]).await;
        let h2 = Client::new(&sidecar, &["h2"]).h2().await;
        let (mut response, mut body) = h2.begin(expecting("/h2"), false).await;
        for wanted in [StatusCode::EARLY_HINTS, StatusCode::CONTINUE] {
            let interim = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
            let interim = interim.unwrap().unwrap();
            assert_eq!(interim.status(), wanted, "{scheme}");
            let link = interim.headers().get("link").is_some();
            assert_eq!(link, wanted == StatusCode::EARLY_HINTS, "{scheme}");
            assert!(!interim.headers().contains_key("x"), "{scheme}: hop-by-hop");
        }
        body.send_data(Bytes::from("hello"), true).unwrap();
        let mut answer = response.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), "hello");
    }
    // Many clients of HTTP/1 take whatever comes first for the answer (RFC 8297, section 3): they get that alone.
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        for _ in 0..2000 {
            talk.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
                .await?;
        }
        talk.answer("200 OK", b"at last").await
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "at last");
    // And one of HTTP/2 not all of two thousand.
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let request = Request::get("https://localhost/many").body(()).unwrap();
    let (mut response, _) = h2.begin(request, true).await;
    let mut hints = 0;
    while let Some(hint) = std::future::poll_fn(|cx| response.poll_informational(cx)).await {
        hint.unwrap();
        hints += 1;
    }
    assert!((1..=16).contains(&hints), "{hints}");
    assert_eq!(response.await.unwrap().status(), 200);
}

/// The same words over HTTP/2.
async fn hints_over_h2() -> App {
    App::scripted(|talk| async move {
        let mut connection = h2::server::handshake(talk.stream).await.unwrap();
        while let Some(Ok((mut request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let hint = http::Response::builder()
                    .status(103)
                    .header("link", "</a.css>");
                respond.send_informational(hint.body(()).unwrap()).unwrap();
                let go = http::Response::builder().status(100).body(()).unwrap();
                respond.send_informational(go).unwrap();
                let mut stream = respond
                    .send_response(http::Response::new(()), false)
                    .unwrap();
                while let Some(Ok(data)) = request.body_mut().data().await {
                    let _ = request
                        .body_mut()
                        .flow_control()
                        .release_capacity(data.len());
                    stream.send_data(data, false).unwrap();
                }
                stream.send_data(Bytes::new(), true).unwrap();
            });
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_application_that_answers_early_and_resets_the_rest_is_heard() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.stream.read_u8().await?;
        talk.answer("413 Content Too Large", b"too large").await?;
        // Closed with unread bytes, the connection is reset.
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for round in 0..20 {
        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let upload = async {
            let head =
                format!("POST /{round} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
            write.write_all(head.as_bytes()).await?;
            loop {
                write.write_all(&[7; 65536]).await?;
                write.flush().await?;
            }
            #[expect(unreachable_code, reason = "names the type")]
            Ok::<(), std::io::Error>(())
        };
        let answer = async {
            let head = read_until(&mut read, b"\r\n\r\n").await.unwrap();
            String::from_utf8(head).unwrap()
        };
        tokio::select! {
            head = answer => assert!(head.starts_with("HTTP/1.1 413 "), "{head}"),
            _ = async { let _ = upload.await; std::future::pending::<()>().await } => {}
        }
        drop(stream);
        let record = sidecar.exchange(&format!("/{round}")).await;
        assert_eq!(
            (&record["status"], &record["reason"]),
            (&413.into(), &"".into())
        );
    }
}

#[tokio::test]
async fn an_http2_client_that_is_still_sending_is_not_reset_before_it_has_read_its_answer() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.stream.read_u8().await?;
        talk.answer("413 Content Too Large", b"too large").await
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let request = Request::post("https://localhost/up").body(()).unwrap();
    let (response, mut upload) = h2.begin(request, false).await;
    upload.send_data(Bytes::from("begin"), false).unwrap();
    let mut answer = response.await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(
        answer.body_mut().data().await.unwrap().unwrap(),
        "too large"
    );
    assert!(answer.body_mut().data().await.is_none());
    // More than every window on the way.
    let mut rest = Bytes::from(vec![7; 900_000]);
    while !rest.is_empty() {
        upload.reserve_capacity(rest.len());
        let granted = std::future::poll_fn(|cx| upload.poll_capacity(cx)).await;
        let granted = granted.expect("reset").unwrap().min(rest.len());
        upload.send_data(rest.split_to(granted), false).unwrap();
    }
    upload.send_data(Bytes::new(), true).unwrap();
    assert_eq!(sidecar.exchange("/up").await["reason"], "");
}
