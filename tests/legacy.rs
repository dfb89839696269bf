use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::support::{App, Client, Sidecar, eventually, h2_get, read_answer, read_until};

const ODD: &str = "HTTP/1.1 200 OK\r\nX-MiXeD: a\r\nx-lower: b\r\nETag: \"c\"\r\nX-MiXeD: d\r\ncontent-LENGTH: 2\r\n\r\nhi";

async fn odd() -> App {
    App::scripted(|mut talk| async move {
        while talk.head().await?.is_some() {
            talk.say(ODD.as_bytes()).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn names_keep_the_case_in_which_they_were_written_in_both_directions() {
    let app = odd().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let answer = Client::h1(&sidecar)
        .send("GET / HTTP/1.1\r\nhost: a\r\nX-ReQuEsT: 1\r\nSOAPAction: \"x\"\r\nx-request: 2\r\n\r\n")
        .await;
    for line in [
        "X-MiXeD: a",
        "x-lower: b",
        "ETag: \"c\"",
        "X-MiXeD: d",
        "content-LENGTH: 2",
    ] {
        assert!(
            answer.head.contains(&format!("\r\n{line}\r\n")),
            "{line} in {}",
            answer.head
        );
    }
    let seen = app.heads()[0].clone();
    for line in [
        "host: a",
        "X-ReQuEsT: 1",
        "SOAPAction: \"x\"",
        "x-request: 2",
    ] {
        assert!(
            seen.contains(&format!("\r\n{line}\r\n")),
            "{line} in {seen}"
        );
    }
    // What the sidecar adds looks like what old applications know.
    for name in [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Real-Ip",
        "X-Request-Id",
        "Forwarded",
    ] {
        assert!(seen.contains(&format!("\r\n{name}: ")), "{name} in {seen}");
    }
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let request = Request::get("https://a/")
        .header("soapaction", "x")
        .body(())
        .unwrap();
    h2.exchange(request, None).await.unwrap();
    let seen = app.heads()[1].clone();
    for name in ["Host", "Soapaction", "X-Forwarded-For"] {
        assert!(seen.contains(&format!("\r\n{name}: ")), "{name} in {seen}");
    }
}

#[tokio::test]
async fn a_client_cannot_hide_what_the_sidecar_says_by_writing_its_name_oddly() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for spelt in [
        "x-forwarded-for",
        "X-FORWARDED-FOR",
        "X-Forwarded-For: 6.6.6.6\r\nx-Forwarded-For",
        "x-real-IP",
        "fORWARDED",
        "cONTENT-lENGTH: 0\r\nX-Real-IP",
        "X-Real-IP: 6.6.6.6\r\ntRANSFER-eNCODING: chunked\r\nX-Real-IP",
    ] {
        let request =
            format!("GET / HTTP/1.1\r\nHost: a\r\nX-MiXeD: 1\r\n{spelt}: 6.6.6.6\r\n\r\n");
        let rest = if spelt.contains("chunked") {
            "0\r\n\r\n"
        } else {
            ""
        };
        Client::h1(&sidecar).send(request + rest).await;
        let seen = app.heads().pop().unwrap();
        assert!(
            !seen.contains("cONTENT") && !seen.contains("tRANSFER"),
            "{seen}"
        );
        for name in [
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Real-I",
            "Forwarded",
        ] {
            assert!(seen.contains(&format!("\r\n{name}")), "{name} in {seen}");
        }
        assert!(
            !seen.contains("6.6.6.6") && seen.contains("\r\nX-Mixed: 1\r\n"),
            "{seen}"
        );
    }
    // Behind a load balancer that writes them as usual the case of all others is kept.
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-MiXeD: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nTE: gzip\r\ncontent-length: 0\r\n\r\n";
    Client::h1(&sidecar).send(request).await;
    let seen = app.heads().pop().unwrap();
    assert!(seen.contains("\r\nX-MiXeD: 1\r\n"), "{seen}");
}

#[tokio::test]
async fn the_case_of_names_survives_a_request_that_is_sent_again() {
    let app = App::scripted(|mut talk| async move {
        // Each connection answers one request and is gone when the next one comes.
        talk.head().await?;
        talk.answer("200 OK", b"hi").await?;
        talk.head().await?;
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--workers", "1"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET /x HTTP/1.1\r\nHost: a\r\nX-MiXeD: 1\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read_answer(&mut stream).await.unwrap().status, 200);
    }
    let heads = app.heads();
    assert_eq!(heads.len(), 3, "{heads:?}");
    assert!(
        heads.iter().all(|head| head.contains("\r\nX-MiXeD: 1\r\n")),
        "{heads:?}"
    );
}

#[tokio::test]
async fn the_agreement_to_another_protocol_is_spelt_as_the_application_does() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.say(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
            .await?;
        talk.stream.read_u8().await.map(drop)
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let asks = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(asks.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, b"\r\n\r\n").await.unwrap();
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("\r\nSec-WebSocket-Accept: "), "{head}");
    assert!(
        app.heads()[0].contains("\r\nSec-WebSocket-Key: "),
        "{:?}",
        app.heads()
    );
}

#[tokio::test]
async fn names_are_in_lower_case_where_that_is_asked_for() {
    let app = odd().await;
    let sidecar = Sidecar::start(&app, &["--header-case", "lower"]).await;
    let answer = Client::h1(&sidecar)
        .send("GET / HTTP/1.1\r\nHost: a\r\nX-ReQuEsT: 1\r\n\r\n")
        .await;
    assert!(
        answer.head.contains("\r\nx-mixed: a\r\n"),
        "{}",
        answer.head
    );
    let seen = app.heads()[0].clone();
    assert!(
        seen.contains("\r\nx-request: 1\r\n") && seen.contains("\r\nx-forwarded-for: "),
        "{seen}"
    );
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("https://localhost{path}"))
        .body(())
        .unwrap()
}

#[tokio::test]
async fn a_short_body_of_http2_gets_a_length_and_a_long_or_slow_one_is_chunked() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &["--spool", "1KiB"]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    for (size, is_known) in [(1, true), (1000, true), (1024, true), (5000, false)] {
        let body = Bytes::from(vec![b'x'; size]);
        let (_, _, seen) = h2.exchange(post("/"), Some(body.clone())).await.unwrap();
        let seen = String::from_utf8(seen).unwrap();
        let has = |field: &str| seen.contains(&format!("\r\n{field}\r\n"));
        assert_eq!(has(&format!("Content-Length: {size}")), is_known, "{seen}");
        assert_eq!(has("Transfer-Encoding: chunked"), !is_known, "{seen}");
        assert!(
            seen.ends_with(std::str::from_utf8(&body).unwrap()),
            "{size}"
        );
    }
    // Nothing is held back for long: what has come goes on, and the rest follows.
    let (response, mut stream) = h2.begin(post("/slow"), false).await;
    stream.send_data(Bytes::from("begin"), false).unwrap();
    eventually("the application sees it", async || {
        app.heads()
            .iter()
            .any(|head| head.starts_with("POST /slow "))
            .then_some(())
    })
    .await;
    stream.send_data(Bytes::from(" end"), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut seen = Vec::new();
    while let Some(data) = body.data().await {
        seen.extend_from_slice(&data.unwrap());
    }
    assert!(
        seen.ends_with(b"begin end"),
        "{:?}",
        String::from_utf8_lossy(&seen)
    );
    // Trailers have no place behind a body with a length.
    let (response, mut stream) = h2.begin(post("/trailers"), false).await;
    stream.send_data(Bytes::from("body"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let head = app.heads().pop().unwrap();
    assert!(
        head.contains("\r\nTransfer-Encoding: chunked\r\n"),
        "{head}"
    );
    // Off.
    let sidecar = Sidecar::start(&app, &["--spool", "0"]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let (_, _, seen) = h2
        .exchange(post("/"), Some(Bytes::from("x")))
        .await
        .unwrap();
    let seen = String::from_utf8(seen).unwrap();
    assert!(
        seen.contains("\r\nTransfer-Encoding: chunked\r\n"),
        "{seen}"
    );
}

#[tokio::test]
async fn an_rpc_is_never_gathered() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let request = Request::post("https://localhost/rpc")
        .header("content-type", "application/grpc+proto")
        .body(())
        .unwrap();
    let (_, _, seen) = h2.exchange(request, Some(Bytes::from("x"))).await.unwrap();
    let seen = String::from_utf8(seen).unwrap();
    assert!(
        seen.contains("\r\nTransfer-Encoding: chunked\r\n"),
        "{seen}"
    );
}

#[tokio::test]
async fn redirects_to_http_and_cookies_in_clear_are_fixed_when_asked_for() {
    let app = App::scripted(|mut talk| async move {
        while talk.head().await?.is_some() {
            talk.say(
                b"HTTP/1.1 302 Found\r\nLocation: http://shop.example/next?a=b\r\nContent-Location: http://other.example/\r\n\
                  Refresh: 3; url=http://shop.example/\r\nSet-Cookie: a=b; Path=/\r\nSet-Cookie: c=d; Secure\r\nContent-Length: 0\r\n\r\n",
            )
            .await?;
        }
        Ok(())
    })
    .await;
    let request = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let plain = Sidecar::start(&app, &[]).await;
    let answer = Client::h1(&plain).send(request).await;
    assert_eq!(
        answer.field("location"),
        Some("http://shop.example/next?a=b")
    );
    assert_eq!(answer.field("set-cookie"), Some("a=b; Path=/"));
    let fixing = Sidecar::start(&app, &["--fix-redirects"]).await;
    let answer = Client::h1(&fixing).send(request).await;
    for line in [
        "Location: https://shop.example/next?a=b",
        "Content-Location: http://other.example/",
        "Refresh: 3; url=https://shop.example/",
        "Set-Cookie: a=b; Path=/; Secure",
        "Set-Cookie: c=d; Secure",
    ] {
        assert!(
            answer.head.contains(&format!("\r\n{line}\r\n")),
            "{line} in {}",
            answer.head
        );
    }
    let h2 = Client::new(&fixing, &["h2"]).h2().await;
    let request = Request::get("https://shop.example/").body(()).unwrap();
    let (_, headers, _) = h2.exchange(request, None).await.unwrap();
    assert_eq!(headers["location"], "https://shop.example/next?a=b");
}

#[tokio::test]
async fn an_application_of_http10_is_understood_and_its_connection_never_used_again() {
    let app = App::scripted(|mut talk| async move {
        while let Some(head) = talk.head().await? {
            let body = talk.body(&head).await?;
            let line = if head.starts_with("GET /close") {
                // No length: the end of the connection is the end of the body.
                talk.say(b"HTTP/1.0 200 OK\r\nX-Old: yes\r\n\r\nuntil the end")
                    .await?;
                return Ok(());
            } else {
                format!(
                    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                )
            };
            talk.say(line.as_bytes()).await?;
            talk.say(&body).await?;
        }
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--workers", "1"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /close HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = read_answer(&mut stream).await.unwrap();
    assert_eq!(
        (answer.text().as_str(), answer.field("x-old")),
        ("until the end", Some("yes"))
    );
    // On a connection that has spoken HTTP/1.0 hyper would drop a body of unknown length.
    for n in 0..3 {
        let request = format!(
            "POST /{n} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.unwrap().text(), "hello");
    }
}

#[tokio::test]
async fn an_http10_client_gets_bodies_without_chunks_and_may_keep_its_connection() {
    let app = App::scripted(|mut talk| async move {
        while let Some(head) = talk.head().await? {
            if head.starts_with("GET /chunked") {
                talk.say(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                )
                .await?;
            } else {
                talk.answer("200 OK", b"known").await?;
            }
        }
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET /known HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .await
            .unwrap();
        let answer = read_answer(&mut stream).await.unwrap();
        assert!(answer.head.starts_with("HTTP/1.0 200"), "{}", answer.head);
        assert_eq!(
            (answer.field("connection"), answer.text().as_str()),
            (Some("keep-alive"), "known")
        );
    }
    stream
        .write_all(b"GET /chunked HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut seen = String::new();
    stream.read_to_string(&mut seen).await.unwrap();
    assert!(
        seen.ends_with("\r\n\r\nhello") && !seen.to_ascii_lowercase().contains("transfer-encoding"),
        "{seen}"
    );
}

#[tokio::test]
async fn events_and_long_polls_arrive_when_they_are_sent() {
    let step = Arc::new(Notify::new());
    let next = Arc::clone(&step);
    let app = App::scripted(move |mut talk| {
        let next = Arc::clone(&next);
        async move {
            while talk.head().await?.is_some() {
                talk.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
                for n in 0..3 {
                    next.notified().await;
                    talk.say(format!("9\r\ndata: {n}\n\n\r\n").as_bytes()).await?;
                }
                next.notified().await;
                talk.say(b"0\r\n\r\n").await?;
            }
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, b"\r\n\r\n").await.unwrap();
    for n in 0..3 {
        step.notify_one();
        let event = read_until(&mut stream, b"\n\n\r\n").await.unwrap();
        assert!(event.ends_with(format!("data: {n}\n\n\r\n").as_bytes()));
    }
    step.notify_one();
    read_until(&mut stream, b"0\r\n\r\n").await.unwrap();
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let (response, _) = h2.begin(h2_get("/events"), true).await;
    let mut body = response.await.unwrap().into_body();
    for n in 0..3 {
        step.notify_one();
        assert_eq!(
            body.data().await.unwrap().unwrap(),
            format!("data: {n}\n\n")
        );
    }
}
