use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Sidecar, hello, read_answer, send};

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
