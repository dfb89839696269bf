use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;

use crate::support::{App, Client, Sidecar, eventually, h2_get, hello, read_answer, read_until};

#[tokio::test]
async fn a_request_reaches_the_application_over_http1_and_http2() {
    let app = hello("Hello you!").await;
    let sidecar = Sidecar::start(&app, &[]).await;

    let answer = Client::h1(&sidecar).get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "Hello you!"));

    let h2 = Client::new(&sidecar, &["h2", "http/1.1"]).h2().await;
    let (status, _, body) = h2.exchange(h2_get("/"), None).await.unwrap();
    assert_eq!((status.as_u16(), &body[..]), (200, &b"Hello you!"[..]));
}

#[tokio::test]
async fn the_application_is_told_who_asks_and_a_client_cannot_pretend() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let seen = Client::h1(&sidecar)
        .send(
            "GET /a?b=c HTTP/1.1\r\nHost: shop.example:8443\r\nConnection: close, X-Forwarded-For, X-Secret\r\n\
             X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX!Forwarded+For: 6.6.6.6\r\nX-Client-Cert: 6.6.6.6\r\nX~ARR.ClientCert: 6.6.6.6\r\nx.forwarded.proto: http\r\nForwarded: for=6.6.6.6\r\n\
             X-Real-IP: 6.6.6.6\r\nX-Forwarded-Client-Cert: By=me\r\nX-Request-Id: mine\r\nProxy: evil\r\n\
             X-Secret: hop\r\nKeep-Alive: timeout=5\r\nTE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\
             under_score: stays\r\nX-Client-DNT: stays\r\nCookie: a=1\r\n\r\n",
        )
        .await
        .text();
    let lower = seen.to_ascii_lowercase();
    assert!(seen.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{seen}");
    for field in [
        "host: shop.example:8443",
        "x-forwarded-for: 127.0.0.1",
        "x-real-ip: 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: shop.example:8443",
        "x-forwarded-port: 8443",
        "forwarded: for=127.0.0.1;host=\"shop.example:8443\";proto=https",
        "under_score: stays",
        "x-client-dnt: stays",
        "cookie: a=1",
    ] {
        assert!(
            lower.contains(&format!("\r\n{field}\r\n")),
            "{field} is missing in {seen}"
        );
    }
    for word in [
        "6.6.6.6",
        "by=me",
        "mine",
        "evil",
        "x-secret",
        "keep-alive",
        "\r\nte:",
        "upgrade",
        "http2-settings",
        "x_forwarded",
        "x.forwarded",
    ] {
        assert!(!lower.contains(word), "{word} got through in {seen}");
    }
    assert_eq!(lower.matches("x-request-id: ").count(), 1);
}

#[tokio::test]
async fn an_http2_request_becomes_an_http1_request_with_the_same_meaning() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &["--redirect-port", "4443"]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let request = Request::post("https://shop.example/p?q")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (_, _, seen) = h2
        .exchange(request, Some(Bytes::from("body")))
        .await
        .unwrap();
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.starts_with("POST /p?q HTTP/1.1\r\n"), "{seen}");
    for field in [
        "Host: shop.example\r\n",
        "Content-Length: 4\r\n",
        "Te: trailers\r\n",
        "X-Forwarded-Port: 4443\r\n",
    ] {
        assert!(seen.contains(field), "{field:?} is missing in {seen}");
    }
    assert!(seen.ends_with("\r\n\r\nbody"), "{seen}");
}

#[tokio::test]
async fn bodies_arrive_in_every_framing() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let client = Client::h1(&sidecar);
    for (request, body) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "hello",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
            "hello",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "hello",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "hello",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
            "hi",
        ),
    ] {
        let mut stream = client.connect().await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = read_answer(&mut stream).await.unwrap();
        while answer.status == 100 {
            answer = read_answer(&mut stream).await.unwrap();
        }
        assert!(
            answer.text().ends_with(&format!("\r\n\r\n{body}")),
            "{request:?} gave {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_response_streams_before_it_is_complete() {
    let go_on = Arc::new(Notify::new());
    let script = Arc::clone(&go_on);
    let app = App::scripted(move |mut talk| {
        let go_on = Arc::clone(&script);
        async move {
            while talk.head().await?.is_some() {
                talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
                    .await?;
                go_on.notified().await;
                talk.say(b"6\r\nsecond\r\n0\r\n\r\n").await?;
            }
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;

    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, b"first\r\n").await.unwrap();
    go_on.notify_one();
    read_until(&mut stream, b"0\r\n\r\n").await.unwrap();

    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let (response, _) =
        h2.0.clone()
            .ready()
            .await
            .unwrap()
            .send_request(h2_get("/"), true)
            .unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "first");
    go_on.notify_one();
    assert_eq!(body.data().await.unwrap().unwrap(), "second");
    // The end may come as an empty piece.
    while let Some(rest) = body.data().await {
        assert!(rest.unwrap().is_empty());
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let app = App::scripted(|mut talk| async move {
        while let Some(head) = talk.head().await? {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let answer = match path {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
            };
            talk.say(answer.as_bytes()).await?;
        }
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    // All on one connection: a byte too many would show in the next answer.
    for (method, path, status) in [
        ("GET", "/204", 204),
        ("GET", "/304", 304),
        ("HEAD", "/head", 200),
        ("GET", "/204", 204),
    ] {
        stream
            .write_all(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let head = read_until(&mut stream, b"\r\n\r\n").await.unwrap();
        assert!(
            head.starts_with(format!("HTTP/1.1 {status}").as_bytes()),
            "{}",
            String::from_utf8_lossy(&head)
        );
    }
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    for path in ["/204", "/304"] {
        let (status, _, body) = h2.exchange(h2_get(path), None).await.unwrap();
        assert_eq!(
            (format!("/{}", status.as_str()).as_str(), body.len()),
            (path, 0)
        );
    }
    let head = Request::head("https://localhost/head").body(()).unwrap();
    let (status, headers, body) = h2.exchange(head, None).await.unwrap();
    assert_eq!(
        (
            status.as_u16(),
            headers["content-length"].to_str().unwrap(),
            body.len()
        ),
        (200, "100", 0)
    );
    for path in ["/204", "/304", "/head"] {
        assert_eq!(sidecar.exchange(path).await["reason"], "", "{path}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let requests: String = (0..50)
        .map(|n| format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{n:02}"))
        .collect();
    stream.write_all(requests.as_bytes()).await.unwrap();
    for n in 0..50 {
        let answer = read_answer(&mut stream).await.unwrap().text();
        assert!(
            answer.starts_with(&format!("POST /{n} "))
                && answer.ends_with(&format!("\r\n\r\n{n:02}")),
            "{n}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_request_that_trickles_in_byte_by_byte_is_served() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    for _ in 0..2 {
        for byte in b"\r\nPOST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" {
            stream.write_all(&[*byte]).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert!(
            read_answer(&mut stream)
                .await
                .unwrap()
                .text()
                .ends_with("\r\n\r\nhi")
        );
    }
}

#[tokio::test]
async fn an_http10_client_is_served_and_its_connection_closed() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /old HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut seen = String::new();
    stream.read_to_string(&mut seen).await.unwrap();
    assert!(seen.contains("GET /old HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.to_ascii_lowercase()
            .contains(&format!("host: {}", app.address)),
        "{seen}"
    );
}

#[tokio::test]
async fn a_unix_socket_can_be_the_target() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut seen = [0; 4096];
            let _ = stream.read(&mut seen).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix")
                .await;
        }
    });
    let sidecar = Sidecar::start(format!("unix:{}", path.display()), &[]).await;
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "unix");
}

#[tokio::test]
async fn an_absolute_target_without_a_path_asks_for_the_root() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for (target, wanted) in [
        ("http://a?q", "/?q"),
        ("http://a", "/"),
        ("http://a/b?q", "/b?q"),
    ] {
        let asks = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let seen = Client::h1(&sidecar).send(asks).await.text();
        assert!(
            seen.starts_with(&format!("GET {wanted} HTTP/1.1\r\n")),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn localhost_means_the_loopback_that_answers() {
    let listener = match TcpListener::bind("[::1]:0").await {
        Ok(listener) => listener,
        // A host without IPv6 has only one loopback.
        Err(_) => TcpListener::bind("127.0.0.1:0").await.unwrap(),
    };
    let app = App::on(listener, |mut talk| async move {
        talk.head().await?;
        talk.answer("200 OK", b"found").await
    });
    let sidecar = Sidecar::start(format!("http://localhost:{}", app.address.port()), &[]).await;
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "found");
    assert_eq!(
        sidecar.exchange("/").await["upstream"],
        app.address.to_string()
    );
    // It is named, for whoever wonders.
    let target = sidecar.admin("/target").await.json();
    assert_eq!(target["answers_at"], app.address.to_string());
    let named = format!("address={}", app.address);
    eventually("the log says where", async || {
        sidecar.log().contains(&named).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_thousand_requests_over_a_hundred_connections_are_all_answered_and_recorded_once() {
    let app = hello("Hello you!").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let (h1, h2) = (Client::h1(&sidecar), Client::new(&sidecar, &["h2"]));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let h1 = h1.clone();
        running.spawn(async move {
            let mut stream = h1.connect().await.unwrap();
            for _ in 0..10 {
                stream
                    .write_all(b"GET /many HTTP/1.1\r\nHost: a\r\n\r\n")
                    .await
                    .unwrap();
                assert_eq!(read_answer(&mut stream).await.unwrap().text(), "Hello you!");
            }
        });
        let h2 = h2.clone();
        running.spawn(async move {
            let connection = h2.h2().await;
            let all = (0..10).map(|_| {
                let connection = connection.clone();
                tokio::spawn(async move { connection.exchange(h2_get("/many"), None).await })
            });
            for one in all.collect::<Vec<_>>() {
                assert_eq!(one.await.unwrap().unwrap().2, b"Hello you!");
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let is_ours = |record: &&serde_json::Value| record["path"] == "/many";
    eventually("a thousand records", async || {
        (sidecar.records().iter().filter(is_ours).count() >= 1000).then_some(())
    })
    .await;
    sidecar.signal(rustix::process::Signal::TERM);
    let ended = sidecar.ended().await;
    let records: Vec<serde_json::Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.iter().filter(is_ours).count(), 1000);
    assert!(
        records
            .iter()
            .filter(is_ours)
            .all(|record| record["status"] == 200 && record["reason"] == "")
    );
    let ids: std::collections::HashSet<_> = records
        .iter()
        .map(|record| record["id"].to_string())
        .collect();
    assert_eq!(ids.len(), records.len(), "ids repeat");
}

#[tokio::test]
async fn hsts_is_sent_when_asked_for() {
    let app = hello("hi").await;
    let plain = Sidecar::start(&app, &[]).await;
    assert_eq!(
        Client::h1(&plain)
            .get("/")
            .await
            .field("strict-transport-security"),
        None
    );
    let asked = Sidecar::start(&app, &["--hsts"]).await;
    assert_eq!(
        Client::h1(&asked)
            .get("/")
            .await
            .field("strict-transport-security"),
        Some("max-age=31536000")
    );
    let given = Sidecar::start(&app, &["--hsts=1h"]).await;
    assert_eq!(
        Client::h1(&given)
            .get("/")
            .await
            .field("strict-transport-security"),
        Some("max-age=3600")
    );
}

#[tokio::test]
async fn hop_by_hop_fields_of_a_response_stay_inside() {
    let app = App::scripted(|mut talk| async move {
        while talk.head().await?.is_some() {
            talk.say(b"HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: s\r\nKeep-Alive: timeout=5\r\nX-Mine: m\r\nContent-Length: 2\r\n\r\nhi").await?;
        }
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let answer = read_answer(&mut stream).await.unwrap();
    assert_eq!(answer.field("x-mine"), Some("m"));
    for name in ["x-secret", "keep-alive", "connection"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_went_stale_costs_the_client_nothing() {
    // Answers once a connection and closes it without saying so, as an application does whose keep-alive limit is over.
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.answer("200 OK", b"once").await
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--workers", "1"]).await;
    let mut h1 = Client::h1(&sidecar).connect().await.unwrap();
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    for _ in 0..100 {
        h1.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read_answer(&mut h1).await.unwrap().text(), "once");
        assert_eq!(h2.exchange(h2_get("/"), None).await.unwrap().2, b"once");
    }
}

#[tokio::test]
async fn a_request_that_may_not_be_sent_twice_is_not() {
    let app = App::scripted(|mut talk| async move {
        // The first is answered; the second is read and left without an answer.
        if let Some(head) = talk.head().await? {
            talk.body(&head).await?;
            talk.answer("200 OK", b"first").await?;
        }
        talk.head().await.map(drop)
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--workers", "1"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_answer(&mut stream).await.unwrap().status, 200);
    stream
        .write_all(b"POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_answer(&mut stream).await.unwrap().status, 502);
    assert_eq!(
        app.heads()
            .iter()
            .filter(|head| head.starts_with("POST"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_slow_upload_is_no_slow_answer() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &["--response-timeout", "2s"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..30 {
        // Paces the load: each piece far within the limit, all of them together beyond it.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        stream.write_all(b"x").await.unwrap();
    }
    let answer = read_answer(&mut stream).await.unwrap();
    assert!(
        answer.status == 200 && answer.text().ends_with(&"x".repeat(30)),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn trailers_are_held_to_the_rules_for_fields() {
    let app = App::scripted(|mut talk| async move {
        while talk.head().await?.is_some() {
            // Everything up to the end of the trailers, as it came.
            let mut body = Vec::new();
            while !body.ends_with(b"\r\n\r\n") {
                body.push(talk.stream.read_u8().await?);
            }
            talk.answer("200 OK", &body).await?;
        }
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let seen = Client::h1(&sidecar)
        .send(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
             Trailer: X-Forwarded-For, X_Real_IP, Host, X-Sum\r\n\r\n2\r\nhi\r\n0\r\n\
             X-Forwarded-For: 6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\nHost: evil\r\nX-Sum: 7\r\n\r\n",
        )
        .await
        .text()
        .to_ascii_lowercase();
    assert!(
        seen.contains("x-sum: 7") && !seen.contains("6.6.6.6") && !seen.contains("evil"),
        "{seen}"
    );
}

#[tokio::test]
async fn an_old_application_does_not_cost_a_new_client_its_connection() {
    let app = App::scripted(|mut talk| async move {
        let head = talk.head().await?.unwrap_or_default();
        let length = if head.contains("/length") {
            "Content-Length: 3\r\n"
        } else {
            ""
        };
        talk.say(format!("HTTP/1.0 200 OK\r\n{length}\r\nold").as_bytes())
            .await
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    for path in ["/length", "/none", "/length", "/none"] {
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let answer = read_answer(&mut stream).await.unwrap();
        assert!(
            answer.head.starts_with("HTTP/1.1 200") && answer.text() == "old",
            "{}",
            answer.head
        );
    }
}

#[tokio::test]
async fn an_early_answer_does_not_cut_the_upload_it_answers() {
    let (whole, mut told) = tokio::sync::mpsc::unbounded_channel();
    let app = App::scripted(move |mut talk| {
        let whole = whole.clone();
        async move {
            while let Some(head) = talk.head().await? {
                talk.answer("200 OK", b"early").await?;
                // Up to the end of the last chunk, whatever trailers come with it.
                let mut body = Vec::new();
                while !(body.ends_with(b"0\r\n\r\n") || head.starts_with("GET")) {
                    body.push(talk.stream.read_u8().await?);
                }
                let _ = whole.send(body.iter().filter(|byte| **byte == b'x').count());
            }
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
    for trailers in ["", "A: b\r\n", "", "A: b\r\n"] {
        let head = "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream
            .write_all(format!("{head}{chunk}").as_bytes())
            .await
            .unwrap();
        assert_eq!(read_answer(&mut stream).await.unwrap().text(), "early");
        // Many chunks in one piece, after the answer.
        stream
            .write_all(format!("{}0\r\n{trailers}\r\n", chunk.repeat(50)).as_bytes())
            .await
            .unwrap();
        // The connection goes on with the next request.
        stream
            .write_all(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read_answer(&mut stream).await.unwrap().text(), "early");
        let told = [told.recv().await.unwrap(), told.recv().await.unwrap()];
        assert!(
            told.contains(&51_000) && told.contains(&0),
            "{told:?} with {trailers:?}"
        );
    }
    // The last chunk, with and without trailers, in a piece of its own.
    for end in ["0\r\n\r\n", "0\r\nA: b\r\n\r\n"] {
        stream
            .write_all(
                b"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
            )
            .await
            .unwrap();
        assert_eq!(read_answer(&mut stream).await.unwrap().text(), "early");
        stream.write_all(end.as_bytes()).await.unwrap();
        assert_eq!(told.recv().await, Some(1));
    }
    sidecar.signal(rustix::process::Signal::TERM);
    assert_eq!(sidecar.ended().await.code, Some(0));
}

#[tokio::test]
async fn trailers_end_a_whole_response() {
    let app = App::scripted(|mut talk| async move {
        while talk.head().await?.is_some() {
            talk.say(b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n").await?;
        }
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--workers", "1"]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    for path in ["/1", "/2"] {
        let (response, _) =
            h2.0.clone()
                .ready()
                .await
                .unwrap()
                .send_request(h2_get(path), true)
                .unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "hi");
        assert_eq!(body.trailers().await.unwrap().unwrap()["x-sum"], "7");
        assert_eq!(sidecar.exchange(path).await["reason"], "");
    }
    // The second went over the connection of the first.
    assert_eq!(
        sidecar.exchange("/2").await["connect_ms"],
        serde_json::Value::Null
    );
    assert!(
        Client::h1(&sidecar)
            .get("/3")
            .await
            .text()
            .starts_with("hi")
    );
    assert_eq!(sidecar.exchange("/3").await["reason"], "");
}

#[tokio::test]
async fn cookie_crumbs_are_joined() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let request = Request::get("https://localhost/")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(())
        .unwrap();
    let seen = String::from_utf8(h2.exchange(request, None).await.unwrap().2).unwrap();
    assert!(
        seen.contains("Cookie: a=1; b=2\r\n") && seen.matches("ookie").count() == 1,
        "{seen}"
    );
}
