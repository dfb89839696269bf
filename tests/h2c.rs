use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::support::{App, Client, PATIENCE, Sidecar, eventually, h2_get, read_answer, read_until};

/// An application of HTTP/2 that handles each stream by `script`.
async fn app<F, W>(script: F) -> (App, String)
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> W + Clone + Send + Sync + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let app = App::scripted(move |talk| {
        let script = script.clone();
        async move {
            let mut connection = h2::server::handshake(talk.stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(script(request, respond));
            }
            Ok(())
        }
    })
    .await;
    let url = format!("h2c://{}", app.address);
    (app, url)
}

/// Answers with what it has seen of the request: pseudo fields, fields, body, trailers.
async fn echo(mut request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut seen = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        seen.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    let body = request.body_mut();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        seen.push_str(&String::from_utf8_lossy(&data));
    }
    if let Ok(Some(trailers)) = body.trailers().await {
        seen.push_str(&format!("\ntrailers: {trailers:?}"));
    }
    stream.send_data(Bytes::from(seen), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "7".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}

/// Says so many bytes as fast as they are taken, and counts them.
async fn say(stream: &mut SendStream<Bytes>, size: usize, count: &AtomicUsize) {
    let mut left = Bytes::from(vec![7; size]);
    while !left.is_empty() {
        stream.reserve_capacity(left.len());
        let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(granted)) = granted else { return };
        let piece = left.split_to(granted.min(left.len()));
        count.fetch_add(piece.len(), Ordering::Relaxed);
        let _ = stream.send_data(piece, left.is_empty());
    }
}

#[tokio::test]
async fn a_request_reaches_an_application_of_http2_as_one_of_http2() {
    let (_app, url) = app(echo).await;
    let sidecar = Sidecar::start(&url, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let request = Request::post("https://shop.example/p?q")
        .header("te", "trailers")
        .header("x-own", "kept")
        .body(())
        .unwrap();
    let (response, mut body) = h2.begin(request, false).await;
    body.send_data(Bytes::from("hello"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    trailers.insert("x-forwarded-for", "6.6.6.6".parse().unwrap());
    body.send_trailers(trailers).unwrap();
    let mut response = response.await.unwrap();
    let mut seen = Vec::new();
    while let Some(data) = response.body_mut().data().await {
        seen.extend_from_slice(&data.unwrap());
    }
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with("POST http://shop.example/p?q\n"), "{seen}");
    for part in [
        "\nte: trailers\n",
        "\nx-own: kept\n",
        "\nx-forwarded-proto: https\n",
        "hello\ntrailers: {\"x-end\": \"1\"}",
    ] {
        assert!(seen.contains(part), "{part:?} is missing in {seen}");
    }
    for part in ["\nhost:", "transfer-encoding", "connection", "6.6.6.6"] {
        assert!(!seen.contains(part), "{part:?} stands in {seen}");
    }
    let trailers = response.body_mut().trailers().await.unwrap().unwrap();
    assert_eq!(trailers["x-checksum"], "7");

    // From HTTP/1, too.
    let answer = Client::h1(&sidecar)
        .send("POST /h1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .await;
    assert!(
        answer.text().starts_with("POST http://a/h1\n"),
        "{}",
        answer.text()
    );
    assert!(answer.text().ends_with("abc"), "{}", answer.text());
    let record = sidecar.exchange("/h1").await;
    assert_eq!(
        (
            &record["reason"],
            &record["http"],
            record["target"].as_str()
        ),
        (&"".into(), &"1.1".into(), Some(url.as_str()))
    );
}

#[tokio::test]
async fn many_requests_share_few_connections() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let app = App::scripted(move |talk| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let mut connection = h2::server::handshake(talk.stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(echo(request, respond));
            }
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(format!("h2c://{}", app.address), &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let all: Vec<_> = (0..100)
        .map(|n| {
            let h2 = h2.clone();
            tokio::spawn(async move { h2.exchange(h2_get(&format!("/{n}")), None).await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap().unwrap().0, 200);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_reset_goes_through_in_both_directions_with_its_code() {
    let (told, mut codes) = mpsc::unbounded_channel();
    let (_app, url) = app(move |request, mut respond| {
        let told = told.clone();
        async move {
            match request.uri().path() {
                "/early" => respond.send_reset(Reason::INADEQUATE_SECURITY),
                "/late" => {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data(Bytes::from("some"), false).unwrap();
                    let mut request = request.into_body();
                    // Until the client has seen it.
                    let _ = request.data().await;
                    stream.send_reset(Reason::ENHANCE_YOUR_CALM);
                }
                _ => {
                    let mut body = request.into_body();
                    let _head = respond.send_response(Response::new(()), false).unwrap();
                    while let Some(data) = body.data().await {
                        if let Err(error) = data {
                            let _ = told.send(error.reason());
                            return;
                        }
                    }
                }
            }
        }
    })
    .await;
    let sidecar = Sidecar::start(&url, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    // There is still an answer to be given.
    assert_eq!(h2.exchange(h2_get("/early"), None).await.unwrap().0, 502);
    assert_eq!(sidecar.exchange("/early").await["reason"], "upstream_reset");
    // There is none any more.
    let post = |path: &str| Request::post(format!("https://a{path}")).body(()).unwrap();
    let (response, mut body) = h2.begin(post("/late"), false).await;
    let mut response = response.await.unwrap();
    assert_eq!(response.body_mut().data().await.unwrap().unwrap(), "some");
    body.send_data(Bytes::from("seen"), false).unwrap();
    let error = response.body_mut().data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    assert_eq!(
        sidecar.exchange("/late").await["reason"],
        "upstream_truncated"
    );
    // And the client's own.
    let (response, mut body) = h2.begin(post("/mine"), false).await;
    response.await.unwrap();
    body.send_reset(Reason::CANCEL);
    assert_eq!(codes.recv().await.unwrap(), Some(Reason::CANCEL));
    assert_eq!(sidecar.exchange("/mine").await["reason"], "client_gone");
}

#[tokio::test]
async fn what_the_application_refused_unseen_is_sent_again_once() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let app = App::scripted(move |talk| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let mut connection = h2::server::handshake(talk.stream).await.unwrap();
            let mut served = 0;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if number == 0 && served == 1 {
                    respond.send_reset(Reason::REFUSED_STREAM);
                } else {
                    tokio::spawn(echo(request, respond));
                }
                served += 1;
            }
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(format!("h2c://{}", app.address), &["--workers", "1"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    for path in ["/1", "/2", "/3"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(
            read_answer(&mut stream).await.unwrap().status,
            200,
            "{path}"
        );
    }
    assert_eq!(sidecar.exchange("/2").await["retries"], 1);
    // There is nothing wrong with the connection.
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_application_that_goes_away_costs_no_request_and_one_that_speaks_no_http2_is_named() {
    // One request a connection, then GOAWAY.
    let (_app, url) = {
        let app = App::scripted(|talk| async move {
            let mut connection = h2::server::handshake(talk.stream).await.unwrap();
            if let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(echo(request, respond));
                connection.graceful_shutdown();
            }
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(echo(request, respond));
            }
            Ok(())
        })
        .await;
        let url = format!("h2c://{}", app.address);
        (app, url)
    };
    let sidecar = Sidecar::start(&url, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    for n in 0..50 {
        let request = format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.unwrap().status, 200, "{n}");
    }
    let app = App::echo().await;
    let sidecar = Sidecar::start(format!("h2c://{}", app.address), &[]).await;
    let answer = Client::h1(&sidecar).get("/old").await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("upstream_"), "{}", answer.text());
}

#[tokio::test]
async fn a_large_body_goes_both_ways_at_the_slower_sides_pace() {
    let (_app, url) = app(|mut request, mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let body = request.body_mut();
        while let Some(Ok(data)) = body.data().await {
            let count = data.len();
            stream.reserve_capacity(count);
            let mut left = data;
            while !left.is_empty() {
                let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
                let granted = granted.unwrap().unwrap().min(left.len());
                stream.send_data(left.split_to(granted), false).unwrap();
            }
            let _ = body.flow_control().release_capacity(count);
        }
        stream.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    let sidecar = Sidecar::start(&url, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let size = 20 << 20;
    let head = format!(
        "POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    );
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let sending = async {
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(&vec![7; size]).await.unwrap();
        write.flush().await.unwrap();
    };
    let mut seen = Vec::new();
    let (_, read) = tokio::join!(sending, read.read_to_end(&mut seen));
    read.unwrap();
    assert_eq!(seen.iter().filter(|byte| **byte == 7).count(), size);
    let record = sidecar.exchange("/big").await;
    assert_eq!(
        (&record["bytes_in"], &record["bytes_out"]),
        (&size.into(), &size.into())
    );
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_in_nobody_elses_way() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let (_app, url) = app(move |request, mut respond| {
        let count = Arc::clone(&count);
        async move {
            let is_big = request.uri().path() == "/big";
            let size = if is_big { 2 << 20 } else { 5 };
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            say(&mut stream, size, &count).await;
        }
    })
    .await;
    let sidecar = Sidecar::start(&url, &["--workers", "1"]).await;
    let greedy = Client::new(&sidecar, &["h2"]).h2().await;
    let mut unread = Vec::new();
    for _ in 0..10 {
        let (response, _) = greedy.begin(h2_get("/big"), true).await;
        unread.push(response.await.unwrap());
    }
    // Each fills its own window, and none that of the others.
    eventually("ten windows are full", async || {
        (sent.load(Ordering::Relaxed) >= 10 << 18).then_some(())
    })
    .await;
    let other = Client::new(&sidecar, &["h2"]).h2().await;
    let (_, _, body) = other.exchange(h2_get("/small"), None).await.unwrap();
    assert_eq!(body.len(), 5);
}

#[tokio::test]
async fn an_answer_that_has_no_body_gets_none_and_one_framed_twice_is_refused() {
    let (_app, url) = app(|request, mut respond| async move {
        let path = request.uri().path();
        let mut response = Response::new(());
        match path {
            "/204" | "/304" => {
                *response.status_mut() = path[1..].parse().unwrap();
            }
            "/twice" => {
                response.headers_mut().append("content-length", 5.into());
                response.headers_mut().append("content-length", 5.into());
            }
            _ => {
                response
                    .headers_mut()
                    .insert("content-length", "".parse().unwrap());
            }
        }
        if let Ok(mut stream) = respond.send_response(response, false) {
            let _ = stream.send_data(Bytes::from("hello"), true);
        }
    })
    .await;
    let sidecar = Sidecar::start(&url, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    for (path, status) in [
        ("/204", 204),
        ("/304", 304),
        ("/twice", 502),
        ("/empty", 502),
    ] {
        let (seen, _, body) = h2.exchange(h2_get(path), None).await.unwrap();
        assert_eq!(seen, status, "{path}");
        assert_eq!(body.is_empty(), status < 400, "{path}");
        let answer = Client::h1(&sidecar).get(path).await;
        assert_eq!(answer.status, status, "{path}");
        let reason = if status < 400 {
            ""
        } else {
            "upstream_malformed"
        };
        assert_eq!(sidecar.exchange(path).await["reason"], reason, "{path}");
    }
}

#[tokio::test]
async fn an_upload_that_nobody_takes_is_given_up_after_the_answer() {
    let (told, mut codes) = mpsc::unbounded_channel();
    let (_app, url) = app(move |request, mut respond| {
        let told = told.clone();
        async move {
            respond.send_response(Response::new(()), true).unwrap();
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                // Its window is never given back.
                if let Err(error) = data {
                    let _ = told.send(error.reason());
                    return;
                }
            }
        }
    })
    .await;
    let sidecar = Sidecar::start(&url, &["--response-timeout", "200ms"]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let request = Request::post("https://a/up").body(()).unwrap();
    let (response, mut upload) = h2.begin(request, false).await;
    assert_eq!(response.await.unwrap().status(), 200);
    let _ = upload.send_data(Bytes::from(vec![7; 200_000]), false);
    assert_eq!(codes.recv().await.unwrap(), Some(Reason::NO_ERROR));
}

#[tokio::test]
async fn an_application_is_never_sent_more_streams_than_it_takes() {
    let app = App::scripted(|talk| async move {
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(2);
        let mut connection = builder.handshake::<_, Bytes>(talk.stream).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(echo(request, respond));
        }
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(format!("h2c://{}", app.address), &["--workers", "1"]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let all: Vec<_> = (0..60)
        .map(|_| {
            let h2 = h2.clone();
            let request = Request::post("https://a/up").body(()).unwrap();
            tokio::spawn(async move { h2.exchange(request, Some(Bytes::from("hello"))).await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap().unwrap().0, 200);
    }
}

#[tokio::test]
async fn an_end_that_comes_after_the_last_byte_is_the_end_of_a_whole_answer() {
    let (told, mut ends) = mpsc::unbounded_channel();
    let (_app, url) = app(move |_request, mut respond| {
        let told = told.clone();
        async move {
            let response = Response::builder()
                .header("content-length", 5)
                .body(())
                .unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(Bytes::from("hello"), false).unwrap();
            // The client has it, and only then is it told that there is no more.
            let _ = told.send(());
            tokio::task::yield_now().await;
            let _ = stream.send_data(Bytes::new(), true);
        }
    })
    .await;
    let sidecar = Sidecar::start(&url, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    for path in ["/1", "/2", "/3"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.unwrap().text(), "hello");
        ends.recv().await.unwrap();
        let record = sidecar.exchange(path).await;
        assert_eq!(
            (&record["reason"], &record["bytes_out"]),
            (&"".into(), &5.into())
        );
    }
}

#[tokio::test]
async fn an_answer_is_whole_with_its_last_byte_although_its_end_comes_late() {
    let end = Arc::new(Notify::new());
    let late = Arc::clone(&end);
    let (_app, url) = app(move |request, mut respond| {
        let late = Arc::clone(&late);
        async move {
            let response = Response::builder().header("content-length", 5);
            let response = response.body(()).unwrap();
            let mut stream = respond.send_response(response, false).unwrap();
            stream.send_data(Bytes::from("hello"), false).unwrap();
            if request.uri().path() == "/late" {
                late.notified().await;
            }
            let _ = stream.send_data(Bytes::new(), true);
        }
    })
    .await;
    let sidecar = Sidecar::start(&url, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    for path in ["/late", "/next"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(
            read_answer(&mut stream).await.unwrap().text(),
            "hello",
            "{path}"
        );
        let record = sidecar.exchange(path).await;
        assert_eq!(
            (&record["reason"], &record["bytes_out"]),
            (&"".into(), &5.into()),
            "{path}"
        );
    }
    end.notify_one();
}

#[tokio::test]
async fn a_client_of_http1_that_leaves_when_all_is_sent_cancels_its_request() {
    let (told, mut seen) = mpsc::unbounded_channel();
    let (_app, url) = app(move |request, mut respond| {
        let told = told.clone();
        async move {
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _ = told.send(format!("{} bytes", data.len()));
            }
            let _ = told.send("the end".into());
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            let _ = told.send(format!("{:?}", reset.unwrap()));
        }
    })
    .await;
    let sidecar = Sidecar::start(&url, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        .await
        .unwrap();
    assert_eq!(seen.recv().await.unwrap(), "3 bytes");
    stream.write_all(b"def").await.unwrap();
    assert_eq!(seen.recv().await.unwrap(), "3 bytes");
    assert_eq!(seen.recv().await.unwrap(), "the end");
    // Without a close_notify: the connection is cut, not ended.
    drop(stream.into_inner().0);
    let reset = tokio::time::timeout(PATIENCE, seen.recv()).await;
    assert_eq!(reset.unwrap().unwrap(), "CANCEL");
    assert_eq!(sidecar.exchange("/left").await["reason"], "client_gone");
}

#[tokio::test]
async fn a_client_that_sends_while_its_answer_is_stuck_gets_the_rest_when_it_reads() {
    const LONG: usize = 32 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let (told, mut heard) = mpsc::unbounded_channel();
    let count = Arc::clone(&sent);
    let (_app, url) = app(move |request, mut respond| {
        let (told, count) = (told.clone(), Arc::clone(&count));
        async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            let hearing = async {
                let mut body = request.into_body();
                while let Some(Ok(data)) = body.data().await {
                    let _ = body.flow_control().release_capacity(data.len());
                    let _ = told.send(data.len());
                }
            };
            tokio::join!(hearing, say(&mut stream, LONG, &count));
        }
    })
    .await;
    let sidecar = Sidecar::start(&url, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let head = "POST /stuck HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The answer is stuck when so many pieces have gone up without more of it coming down.
    let (mut before, mut quiet) = (0, 0);
    while quiet < 200 {
        stream.write_all(b"1\r\nx\r\n").await.unwrap();
        assert_eq!(heard.recv().await.unwrap(), 1);
        let now = sent.load(Ordering::Relaxed);
        quiet = if now == before && now > 0 {
            quiet + 1
        } else {
            0
        };
        before = now;
    }
    assert!(before < LONG, "all of it fits somewhere");
    // Nothing more is sent, so that nothing but its own room wakes who writes.
    read_until(&mut stream, b"\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 1 << 16];
    let mut come = 0;
    while come < LONG {
        let count = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
        let count = count.expect("it goes on").unwrap();
        assert!(count > 0);
        come += buffer[..count].iter().filter(|byte| **byte == 7).count();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(sidecar.exchange("/stuck").await["bytes_out"], LONG);
}

#[tokio::test]
async fn a_client_that_leaves_before_its_request_has_a_place_is_noticed() {
    let go = Arc::new(Semaphore::new(0));
    let (told, mut seen) = mpsc::unbounded_channel();
    let waits = Arc::clone(&go);
    let app = App::scripted(move |talk| {
        let (waits, told) = (Arc::clone(&waits), told.clone());
        async move {
            let mut builder = h2::server::Builder::new();
            builder.max_concurrent_streams(1);
            let mut connection = builder.handshake::<_, Bytes>(talk.stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let path = request.uri().path().to_owned();
                let _ = told.send(path.clone());
                let waits = Arc::clone(&waits);
                tokio::spawn(async move {
                    if path == "/long" {
                        let _ = waits.acquire().await;
                    }
                    let _ = respond.send_response(Response::new(()), true);
                });
            }
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(format!("h2c://{}", app.address), &["--workers", "1"]).await;
    // As many connections as one worker opens, each of which takes one request at a time.
    let mut long = Vec::new();
    for _ in 0..8 {
        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        stream
            .write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(seen.recv().await.unwrap(), "/long");
        long.push(stream);
    }
    let mut left = Client::h1(&sidecar).connect().await.unwrap();
    let post = "POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    left.write_all(post.as_bytes()).await.unwrap();
    eventually("it waits", async || {
        let inflight = sidecar.admin("/inflight").await.text();
        inflight.contains("/left").then_some(())
    })
    .await;
    // Without a close_notify: the connection is cut, not ended.
    drop(left.into_inner().0);
    assert_eq!(sidecar.exchange("/left").await["reason"], "client_gone");
    go.add_permits(8);
    for stream in &mut long {
        assert_eq!(read_answer(stream).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_status_that_nobody_knows_has_a_reason_for_clients_that_need_one() {
    let (_app, url) = app(|_request, mut respond| async move {
        let response = Response::builder().status(599).body(()).unwrap();
        let _ = respond.send_response(response, true);
    })
    .await;
    let sidecar = Sidecar::start(&url, &[]).await;
    let answer = Client::h1(&sidecar).get("/").await;
    assert!(
        answer.head.starts_with("HTTP/1.1 599 <none>\r\n"),
        "{}",
        answer.head
    );
}
