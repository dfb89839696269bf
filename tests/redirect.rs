use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{App, Client, Sidecar, hello, read_answer, send};

#[tokio::test]
async fn plain_http_is_sent_to_https_with_path_and_query() {
    let app = hello("unreachable").await;
    let sidecar = Sidecar::start(&app, &["--redirect", "127.0.0.1:0"]).await;
    let redirect = sidecar.redirect.unwrap();
    for (request, location) in [
        (
            "GET /a/b?c=d&e HTTP/1.1\r\nHost: shop.example\r\n",
            "https://shop.example/a/b?c=d&e",
        ),
        (
            "GET / HTTP/1.1\r\nHost: shop.example:8080\r\n",
            "https://shop.example/",
        ),
        (
            "POST /p HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 3\r\n",
            "https://[::1]/p",
        ),
        (
            "GET http://other.example/x HTTP/1.1\r\nHost: shop.example\r\n",
            "https://other.example/x",
        ),
    ] {
        let answer = send(redirect, format!("{request}\r\n")).await;
        assert_eq!(
            (answer.status, answer.field("location")),
            (308, Some(location)),
            "{request}"
        );
    }
    let record = sidecar.exchange("/a/b").await;
    assert_eq!(
        (&record["status"], &record["tls"]),
        (&308.into(), &serde_json::Value::Null)
    );
    assert_eq!(app.heads().len(), 0);
}

#[tokio::test]
async fn the_public_port_stands_in_the_redirect_unless_it_is_443() {
    let app = hello("unreachable").await;
    let sidecar = Sidecar::start(
        &app,
        &["--redirect", "127.0.0.1:0", "--redirect-port", "8443"],
    )
    .await;
    let answer = send(
        sidecar.redirect.unwrap(),
        "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    .await;
    assert_eq!(answer.field("location"), Some("https://a:8443/x"));
}

#[tokio::test]
async fn a_redirect_connection_is_kept_and_nonsense_ends_it() {
    let app = hello("unreachable").await;
    let sidecar = Sidecar::start(&app, &["--redirect", "127.0.0.1:0"]).await;
    let mut stream = TcpStream::connect(sidecar.redirect.unwrap()).await.unwrap();
    for path in ["/1", "/2"] {
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .await
            .unwrap();
        assert_eq!(
            read_answer(&mut stream).await.unwrap().field("location"),
            Some(format!("https://a{path}").as_str())
        );
    }
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "junk\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(sidecar.redirect.unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(
            read_answer(&mut stream).await.unwrap().status,
            400,
            "{request:?}"
        );
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }
    // The body of an answer to HEAD stays away.
    let mut stream = TcpStream::connect(sidecar.redirect.unwrap()).await.unwrap();
    stream
        .write_all(b"HEAD /h HTTP/1.1\r\nHost: a\r\n\r\nGET /after HTTP/1.0\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut seen = String::new();
    stream.read_to_string(&mut seen).await.unwrap();
    assert!(seen.contains("\r\n\r\nHTTP/1.0 308"), "{seen}");
}

#[tokio::test]
async fn plain_http_on_the_https_port_is_sent_to_https_or_told_why_not() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--redirect-port", "8443"]).await;
    for method in ["GET", "HEAD"] {
        let mut stream = TcpStream::connect(sidecar.https).await.unwrap();
        let request = format!("{method} /{method}?b=c HTTP/1.1\r\nHost: shop.example:80\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut seen = String::new();
        stream.read_to_string(&mut seen).await.unwrap();
        let location = format!("https://shop.example:8443/{method}?b=c");
        assert!(seen.starts_with("HTTP/1.1 308 "), "{seen}");
        assert!(
            seen.contains(&format!("\r\nLocation: {location}\r\n")),
            "{seen}"
        );
        assert!(seen.contains("\r\nConnection: close\r\n"), "{seen}");
        assert_eq!(seen.ends_with("\r\n\r\n"), method == "HEAD", "{seen}");
        let record = sidecar.exchange(&format!("/{method}")).await;
        assert_eq!(
            (&record["status"], &record["reason"], record.get("tls")),
            (&308.into(), &"plain_http".into(), None)
        );
    }
    // A body that has gone over the wire in clear is not to be sent once more as if nothing had happened.
    let answer = send(
        sidecar.https,
        "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nsecret",
    )
    .await;
    assert_eq!((answer.status, answer.field("location")), (400, None));
    assert!(
        answer.text().contains("https://") && answer.text().contains("plain_http"),
        "{}",
        answer.text()
    );
    assert_eq!(sidecar.exchange("/form").await["reason"], "plain_http");
    for (request, status) in [
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    ] {
        assert_eq!(
            send(sidecar.https, request).await.status,
            status,
            "{request:?}"
        );
    }
    let metrics = sidecar.admin("/metrics").await.text();
    assert!(
        metrics.contains(
            "portcullis_requests_total{method=\"GET\",code=\"308\",reason=\"plain_http\"} 1"
        ),
        "{metrics}"
    );
    assert_eq!(app.heads().len(), 0);
    assert_eq!(Client::h1(&sidecar).get("/").await.text(), "hi");
}

#[tokio::test]
async fn exempt_paths_are_answered_in_clear_and_acmes_go_to_the_application() {
    let app = App::echo().await;
    let exempt = [
        "--redirect",
        "127.0.0.1:0",
        "--redirect-exempt",
        "/lb-check",
        "--redirect-exempt",
        "/.well-known/acme-challenge/",
    ];
    let sidecar = Sidecar::start(&app, &exempt).await;
    let get = async |path: &str| {
        send(
            sidecar.redirect.unwrap(),
            format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
        )
        .await
    };
    assert_eq!(
        (
            get("/lb-check").await.status,
            get("/lb-check?x=y").await.status
        ),
        (200, 200)
    );
    let token = get("/.well-known/acme-challenge/token-1").await;
    assert_eq!(token.status, 200);
    for line in [
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 80",
        "Host: shop.example",
    ] {
        assert!(
            token.text().contains(&format!("\r\n{line}\r\n")),
            "{line} is missing in {}",
            token.text()
        );
    }
    for path in [
        "/",
        "/lb-check/",
        "/LB-check",
        "/.well-known/acme-challenge/",
        "/.well-known/acme-challenge/../../admin",
        "/.well-known/acme-challenge/%2e%2e/admin",
        "/.well-known/acme-challenge//admin",
        "/.well-known/acme-challenge/..\\admin",
    ] {
        assert_eq!(get(path).await.status, 308, "{path}");
    }
    let one = "/.well-known/acme-challenge/token-2";
    for (request, why) in [
        (
            format!("GET {one}?x=y HTTP/1.1\r\nHost: a\r\n\r\n"),
            "a query",
        ),
        (
            format!("GET {one} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"),
            "a body",
        ),
        (
            format!("GET http://other{one} HTTP/1.1\r\nHost: a\r\n\r\n"),
            "another host",
        ),
    ] {
        let answer = send(sidecar.redirect.unwrap(), request).await;
        assert_eq!(answer.status, 308, "{why}");
    }
    // Nor does the application learn anything but which token is asked for.
    let fields = "X-Original-URL: /admin\r\nX-HTTP-Method-Override: DELETE\r\nAuthorization: Basic eDp5\r\n\
         Cookie: a=b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUser-Agent: acme";
    let request = format!("GET {one} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let seen = send(sidecar.redirect.unwrap(), request)
        .await
        .text()
        .to_ascii_lowercase();
    for word in ["admin", "delete", "basic", "cookie", "upgrade"] {
        assert!(!seen.contains(word), "{word} in {seen}");
    }
    assert!(seen.contains("\r\nuser-agent: acme\r\n"), "{seen}");
    let upload =
        "POST /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(send(sidecar.redirect.unwrap(), upload).await.status, 308);
    assert_eq!(app.heads().len(), 2, "{:?}", app.heads());
    // On the HTTPS port nothing is exempt from TLS.
    let answer = send(sidecar.https, "GET /lb-check HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.status, 308);
}
