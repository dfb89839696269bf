use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{
    App, Client, H2, PATIENCE, Sidecar, eventually, h2_get, hello, read_answer, read_until,
};

/// Never answers a POST, says `head` to anything else, and tells how each connection ended: with what came behind the head.
async fn sink(head: &'static str) -> (App, UnboundedReceiver<Vec<u8>>) {
    App::hearing_out(move |mut talk| async move {
        let asked = talk.head().await?.unwrap_or_default();
        if !asked.starts_with("POST") {
            talk.say(head.as_bytes()).await?;
        }
        Ok(talk)
    })
    .await
}

async fn ending(ended: &mut UnboundedReceiver<Vec<u8>>) -> Vec<u8> {
    let ended = tokio::time::timeout(PATIENCE, ended.recv()).await;
    ended.expect("its connection ended").unwrap()
}

/// Says bytes for ever, until nobody takes them any more.
async fn endless() -> (App, UnboundedReceiver<Vec<u8>>) {
    let (ends, ended) = unbounded_channel();
    let app = App::scripted(move |mut talk| {
        let ends = ends.clone();
        async move {
            let head = talk.head().await?.unwrap_or_default();
            if head.contains("/small") {
                return talk.answer("200 OK", b"small").await;
            }
            talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
                .await?;
            let piece = vec![7; 64 * 1024];
            while talk.say(&piece).await.is_ok() {}
            let _ = ends.send(Vec::new());
            Ok(())
        }
    })
    .await;
    (app, ended)
}

fn h2_post(path: &str) -> Request<()> {
    Request::post(format!("https://localhost{path}"))
        .body(())
        .unwrap()
}

async fn h2(sidecar: &Sidecar) -> H2 {
    Client::new(sidecar, &["h2"]).h2().await
}

#[tokio::test]
async fn an_upload_that_stops_gets_408_and_is_never_ended_as_if_it_were_whole() {
    let (app, mut ended) = sink("").await;
    let sidecar = Sidecar::start(&app, &["--stall-timeout", "200ms"]).await;
    for (path, framing) in [
        ("/length", "Content-Length: 100\r\n\r\nabc"),
        ("/chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ] {
        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        stream
            .write_all(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}").as_bytes())
            .await
            .unwrap();
        let answer = read_answer(&mut stream).await.unwrap();
        assert_eq!(answer.status, 408);
        assert!(
            answer.text().contains("--stall-timeout"),
            "{}",
            answer.text()
        );
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        let rest = ending(&mut ended).await;
        assert!(
            !rest.ends_with(b"0\r\n\r\n") && rest.len() < 100,
            "{rest:?}"
        );
        let record = sidecar.exchange(path).await;
        assert_eq!(
            (&record["reason"], &record["closed_by"], &record["bytes_in"]),
            (&"body_timeout".into(), &"client".into(), &3.into())
        );
    }
    let h2 = h2(&sidecar).await;
    let (response, mut stream) = h2.begin(h2_post("/stream"), false).await;
    stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
    assert_eq!(
        response.await.unwrap().status(),
        StatusCode::REQUEST_TIMEOUT
    );
    let rest = ending(&mut ended).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    assert_eq!(sidecar.exchange("/stream").await["reason"], "body_timeout");
    // The other streams of the connection have nothing to do with it.
    let (response, _) = h2.begin(h2_get("/other"), true).await;
    drop(response);
}

#[tokio::test]
async fn an_upload_may_be_as_slow_as_it_wants_while_it_goes_on() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(
        &app,
        &["--stall-timeout", "400ms", "--response-timeout", "400ms"],
    )
    .await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n")
        .await
        .unwrap();
    let began = Instant::now();
    for _ in 0..12 {
        // What is tested is that this much time may pass.
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(b"x").await.unwrap();
        stream.flush().await.unwrap();
    }
    assert!(began.elapsed() > Duration::from_millis(1200));
    assert_eq!(read_answer(&mut stream).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_response_that_stops_is_cut_and_the_application_is_blamed() {
    let (app, mut ended) =
        sink("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
    let sidecar = Sidecar::start(&app, &["--stall-timeout", "200ms"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /h1 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, b"2\r\nhi\r\n").await.unwrap();
    let end = stream.read_to_end(&mut Vec::new()).await;
    assert!(end.is_err(), "ended as if it were whole");
    ending(&mut ended).await;

    let (response, _) = h2(&sidecar).await.begin(h2_get("/h2"), true).await;
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hi");
    let error = body.data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    ending(&mut ended).await;
    for path in ["/h1", "/h2"] {
        let record = sidecar.exchange(path).await;
        assert_eq!(
            (&record["status"], &record["reason"], &record["closed_by"]),
            (&200.into(), &"upstream_stalled".into(), &"upstream".into())
        );
    }
}

#[tokio::test]
async fn a_response_that_drips_is_as_long_as_it_takes() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
            .await?;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            talk.say(b"x").await?;
        }
        Ok(())
    })
    .await;
    // In all it takes twice as long as either.
    let limits = ["--stall-timeout", "500ms", "--response-timeout", "500ms"];
    let sidecar = Sidecar::start(&app, &limits).await;
    let answer = Client::h1(&sidecar).get("/").await;
    assert_eq!((answer.status, answer.text().len()), (200, 20));
    assert_eq!(sidecar.exchange("/").await["reason"], "");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_lets_go_of_the_application() {
    let (app, mut ended) = endless().await;
    let sidecar = Sidecar::start(&app, &["--stall-timeout", "500ms"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /h1 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    ending(&mut ended).await;
    let record = sidecar.exchange("/h1").await;
    assert_eq!(
        (&record["status"], &record["reason"], &record["closed_by"]),
        (&200.into(), &"client_stalled".into(), &"client".into())
    );
    // What was on its way is there, and then no end.
    assert!(stream.read_to_end(&mut Vec::new()).await.is_err());

    // One stream whose window stays shut: the others of the same connection, whose own is wide, are served.
    let stream = Client::new(&sidecar, &["h2"]).connect().await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 20);
    let (send, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let h2 = H2(send);
    let (response, _) = h2.begin(h2_get("/h2"), true).await;
    let mut body = response.await.unwrap().into_body();
    let (status, _, small) = h2.exchange(h2_get("/small"), None).await.unwrap();
    assert_eq!((status, &small[..]), (StatusCode::OK, &b"small"[..]));
    ending(&mut ended).await;
    assert_eq!(sidecar.exchange("/h2").await["reason"], "client_stalled");
    let error = loop {
        match body.data().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    let (status, _, _) = h2.exchange(h2_get("/small"), None).await.unwrap();
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_short_answer_that_is_never_taken_is_not_recorded_as_whole() {
    let app = hello("short").await;
    let sidecar = Sidecar::start(&app, &["--stall-timeout", "200ms"]).await;
    let stream = Client::new(&sidecar, &["h2"]).connect().await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (send, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let (response, _) = H2(send).begin(h2_get("/shut"), true).await;
    let mut body = response.await.unwrap().into_body();
    let error = body.data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    let record = sidecar.exchange("/shut").await;
    assert_eq!(
        (&record["status"], &record["reason"]),
        (&200.into(), &"client_stalled".into())
    );
}

#[tokio::test]
async fn event_streams_and_rpcs_may_be_silent_for_as_long_as_they_want() {
    for (asked, answered) in [
        ("Accept: text/event-stream\r\n", "text/event-stream"),
        ("", "text/event-stream; charset=utf-8"),
        ("Content-Type: application/grpc\r\n", "application/grpc"),
        ("", "application/grpc-web+proto"),
    ] {
        let app = App::scripted(move |mut talk| async move {
            talk.head().await?;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {answered}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
            );
            talk.say(head.as_bytes()).await?;
            // What is tested is that this much time may pass.
            tokio::time::sleep(Duration::from_millis(600)).await;
            talk.say(b"3\r\nbye\r\n0\r\n\r\n").await
        })
        .await;
        let sidecar = Sidecar::start(&app, &["--stall-timeout", "100ms"]).await;
        let request = format!("GET /events HTTP/1.1\r\nHost: a\r\n{asked}\r\n");
        let answer = Client::h1(&sidecar).send(request).await;
        assert_eq!(answer.text(), "hibye", "{asked}{answered}");
    }
}

#[tokio::test]
async fn an_upload_that_was_answered_early_has_its_limit_all_the_same() {
    let (app, mut ended) = App::answering_early().await;
    let sidecar = Sidecar::start(&app, &["--stall-timeout", "200ms"]).await;
    let h2 = h2(&sidecar).await;
    for sent in ["abc", ""] {
        let mut post = h2_post("/early");
        post.headers_mut()
            .insert("content-length", "1000".parse().unwrap());
        let (response, mut stream) = h2.begin(post, false).await;
        assert_eq!(response.await.unwrap().status(), StatusCode::OK);
        stream.send_data(Bytes::from(sent), false).unwrap();
        // And never more.
        ending(&mut ended).await;
        drop(stream);
    }
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let head = "POST /h1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.unwrap().text(), "early");
    // Of what comes after the end nothing is taken for the rest.
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    let _ = stream.write_all(&[b'x'; 997]).await;
    assert_eq!(ending(&mut ended).await, b"abc");
}

#[tokio::test]
async fn nobody_is_exempt_because_he_says_so() {
    let (app, _ended) =
        sink("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
    let sidecar = Sidecar::start(&app, &["--stall-timeout", "200ms"]).await;
    let client = Client::h1(&sidecar);
    for claim in [
        "Accept: text/event-stream",
        "Content-Type: application/grpc",
    ] {
        let post =
            format!("POST /up HTTP/1.1\r\nHost: a\r\n{claim}\r\nContent-Length: 9\r\n\r\nabc");
        assert_eq!(client.send(post).await.status, 408, "{claim}");
        let mut stream = client.connect().await.unwrap();
        let get = format!("GET /down HTTP/1.1\r\nHost: a\r\n{claim}\r\n\r\n");
        stream.write_all(get.as_bytes()).await.unwrap();
        read_until(&mut stream, b"hi\r\n").await.unwrap();
        assert!(
            stream.read_to_end(&mut Vec::new()).await.is_err(),
            "{claim}"
        );
    }
    assert_eq!(sidecar.exchange("/up").await["reason"], "body_timeout");
    assert_eq!(
        sidecar.exchange("/down").await["reason"],
        "upstream_stalled"
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_gets_413_whether_it_says_so_or_not() {
    let (app, mut ended) = sink("").await;
    let sidecar = Sidecar::start(&app, &["--max-body", "1KiB"]).await;
    let client = Client::h1(&sidecar);
    let answer = client
        .send("POST /said HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n")
        .await;
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("--max-body"), "{}", answer.text());
    assert_eq!(sidecar.exchange("/said").await["reason"], "body_too_large");
    assert_eq!(app.heads(), Vec::<String>::new(), "the application saw it");

    let chunk = format!("200\r\n{}\r\n", "x".repeat(512));
    let chunked = format!(
        "POST /unsaid HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(3)
    );
    assert_eq!(client.send(chunked).await.status, 413);
    assert!(!ending(&mut ended).await.ends_with(b"0\r\n\r\n"));
    assert_eq!(
        sidecar.exchange("/unsaid").await["reason"],
        "body_too_large"
    );

    let h2 = h2(&sidecar).await;
    let mut said = h2_post("/h2-said");
    said.headers_mut()
        .insert("content-length", "1025".parse().unwrap());
    let (status, ..) = h2
        .exchange(said, Some(Bytes::from(vec![7; 1025])))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let large = Bytes::from(vec![7; 5000]);
    let (status, ..) = h2
        .exchange(h2_post("/h2-unsaid"), Some(large))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let fits = Bytes::from(vec![7; 1024]);
    let (response, mut stream) = h2.begin(h2_post("/fits"), false).await;
    stream.send_data(fits, true).unwrap();
    eventually("the application has it", async || {
        app.heads()
            .iter()
            .any(|head| head.starts_with("POST /fits"))
            .then_some(())
    })
    .await;
    drop(response);
}

#[tokio::test]
async fn the_number_of_fields_has_a_limit_that_can_be_set() {
    let app = hello("hi").await;
    for limit in [3, 250] {
        let sidecar = Sidecar::start(&app, &["--max-headers", &limit.to_string()]).await;
        let client = Client::h1(&sidecar);
        let h2 = h2(&sidecar).await;
        for (more, status) in [(limit - 1, 200), (limit, 431)] {
            let fields = "X: y\r\n".repeat(more);
            let answer = client
                .send(format!("GET /h1 HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
                .await;
            assert_eq!(answer.status, status, "{}", answer.text());
            // The authority is no field in HTTP/2.
            let mut request = h2_get("/h2");
            for number in 0..=more {
                let name: http::HeaderName = format!("x-{number}").parse().unwrap();
                request.headers_mut().insert(name, "y".parse().unwrap());
            }
            if status == 200 {
                request.headers_mut().remove("x-0");
            }
            let (answered, ..) = h2.exchange(request, None).await.unwrap();
            assert_eq!(answered, status, "{limit}");
        }
        let too_many = sidecar
            .record("too many", |record| record["reason"] == "too_many_fields")
            .await;
        assert_eq!(too_many["status"], 431);
    }
}

#[tokio::test]
async fn after_so_many_requests_a_client_is_told_to_come_back() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--max-requests-per-connection", "2"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    for says in [None, Some("close")] {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let answer = read_answer(&mut stream).await.unwrap();
        assert_eq!(answer.field("connection"), says);
    }
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);

    let h2 = h2(&sidecar).await;
    for _ in 0..2 {
        assert_eq!(h2.exchange(h2_get("/"), None).await.unwrap().0, 200);
    }
    eventually("GOAWAY", async || {
        let told = h2.exchange(h2_get("/"), None).await;
        told.is_err_and(|error| error.is_go_away()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_client_cannot_have_all_connections() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--max-connections-per-client", "2"]).await;
    let client = Client::h1(&sidecar);
    let (first, second) = (client.connect().await.unwrap(), client.connect().await);
    assert!(client.connect().await.is_err(), "a third one");
    let metrics = sidecar.probe("/metrics").await.text();
    let counted = "portcullis_connections_refused_total{reason=\"max_connections_per_client\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    drop(first);
    eventually("there is a place again", async || {
        client.connect().await.ok()
    })
    .await;
    drop(second);
}

#[tokio::test]
async fn many_handshakes_cannot_keep_others_out() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--max-handshakes", "4"]).await;
    // One each would be enough for both workers, and the kernel decides which one gets a connection.
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(sidecar.https).await.unwrap();
        // The first bytes of a ClientHello, and never the rest.
        stream.write_all(&[22, 3, 1]).await.unwrap();
        held.push(stream);
    }
    let client = Client::h1(&sidecar);
    eventually("somebody else is served", async || {
        let stream = client.connect().await.ok()?;
        drop(stream);
        Some(())
    })
    .await;
    let gave_way = sidecar
        .record("one that gave way", |record| {
            record["reason"] == "handshakes_full"
        })
        .await;
    assert_eq!(
        (&gave_way["kind"], &gave_way["closed_by"]),
        (&"handshake".into(), &"proxy".into())
    );
    drop(held);
}

#[tokio::test]
async fn a_client_that_vanishes_while_the_application_does_not_read_is_noticed() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        // Reads nothing more.
        std::future::pending().await
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let head = b"POST /blocked HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let piece = vec![7; 64 * 1024];
    // Until every buffer on the way is full.
    while tokio::time::timeout(Duration::from_millis(500), stream.write_all(&piece))
        .await
        .is_ok()
    {}
    let socket = stream.into_inner().0;
    socket2::SockRef::from(&socket)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(socket);
    assert_eq!(sidecar.exchange("/blocked").await["reason"], "client_gone");
}
