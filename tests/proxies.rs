use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{App, Client, Sidecar, eventually, read_answer, send};

const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\x0a\x00\x00\x01\x12\x67\x01\xbb";
const V1: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n";

fn lines(seen: &str) -> Vec<&str> {
    seen.split("\r\n").collect()
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_the_client_is_believed_and_passed_on() {
    let app = App::echo().await;
    let trusting = [
        "--trusted-proxy",
        "127.0.0.0/8",
        "--trusted-proxy",
        "10.0.0.0/8",
    ];
    let sidecar = Sidecar::start(&app, &trusting).await;
    let request = "GET /via HTTP/1.1\r\nHost: in.pod:8443\r\n\
         X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\nX-Forwarded-For: 10.0.0.7\r\n\
         X-Forwarded-Proto: HTTP\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-Port: 80\r\n\
         Forwarded: for=203.0.113.9;proto=http\r\nX-Request-Id: abc.DEF-1_2\r\nX-Real-IP: 6.6.6.6\r\n\
         X-Forwarded-Prefix: /shop\r\nX-Forwarded-Client-Cert: By=me\r\nX-Forwarded-Client-Cert-Chain: By=me\r\n\
         X_Forwarded_For: 6.6.6.7\r\nX_Forwarded_Prefix: By=me\r\n\r\n";
    let seen = Client::h1(&sidecar).send(request).await.text();
    for line in [
        "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.7, 127.0.0.1",
        "X-Real-IP: 203.0.113.9",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Host: shop.example",
        "X-Forwarded-Port: 80",
        "Forwarded: for=203.0.113.9;proto=http, for=127.0.0.1;host=\"in.pod:8443\";proto=https",
        "X-Request-Id: abc.DEF-1_2",
        "X-Forwarded-Prefix: /shop",
        "Host: in.pod:8443",
    ] {
        assert!(lines(&seen).contains(&line), "{line} is missing in {seen}");
    }
    // Who the client has proven to be is said by nobody but the sidecar.
    assert!(
        !seen.contains("By=me") && !seen.contains("6.6.6.7"),
        "{seen}"
    );
    let record = sidecar.exchange("/via").await;
    assert_eq!(
        (&record["client"], &record["proxy"], &record["request_id"]),
        (
            &"203.0.113.9".into(),
            &"127.0.0.1".into(),
            &"abc.DEF-1_2".into()
        )
    );
    assert!(record.get("client_port").is_none(), "{record}");
}

#[tokio::test]
async fn what_a_trusted_proxy_says_nonsense_about_is_said_by_the_sidecar() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &["--trusted-proxy", "127.0.0.1"]).await;
    let long = "x".repeat(129);
    let request = format!(
        "GET /odd HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a@b\r\n\
         X-Forwarded-Port: 99999\r\nX-Request-Id: {long}\r\nX-Forwarded-For: who knows\r\n\r\n"
    );
    let seen = Client::h1(&sidecar).send(request).await.text();
    for line in [
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: a",
        "X-Forwarded-Port: 443",
        "X-Real-Ip: 127.0.0.1",
        "X-Forwarded-For: who knows, 127.0.0.1",
    ] {
        assert!(lines(&seen).contains(&line), "{line} is missing in {seen}");
    }
    assert!(!seen.contains(&long), "{seen}");
    assert_eq!(sidecar.exchange("/odd").await["client"], "127.0.0.1");
}

#[tokio::test]
async fn names_that_only_look_like_none_of_ours_are_removed_and_counted() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 6.6.6.6\r\nx.forwarded.proto: 6.6.6.6\r\n\
         Proxy: 6.6.6.6\r\nContent_Length: 6666\r\nX-Forwarded-For: 6.6.6.6\r\nmy_own_name: stays\r\nmy.own.name: stays\r\n\r\n";
    let seen = Client::h1(&sidecar).send(request).await.text();
    assert!(
        !seen.contains("6.6.6.6") && !seen.contains("6666"),
        "{seen}"
    );
    assert!(
        lines(&seen).contains(&"my_own_name: stays")
            && lines(&seen).contains(&"my.own.name: stays"),
        "{seen}"
    );
    let metrics = sidecar.admin("/metrics").await.text();
    assert!(
        metrics.contains("\nportcullis_disguised_fields_total 3\n"),
        "{metrics}"
    );
}

/// TLS behind these bytes.
async fn asks_behind(sidecar: &Sidecar, header: &[u8], path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(sidecar.https).await?;
    stream.write_all(header).await?;
    let mut stream = Client::h1(sidecar).connect_on(stream).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(read_answer(&mut stream).await?.text())
}

#[tokio::test]
async fn a_proxy_header_of_either_version_names_the_client() {
    let app = App::echo().await;
    let trusting = [
        "--proxy-protocol",
        "--trusted-proxy",
        "127.0.0.1",
        "--redirect",
        "127.0.0.1:0",
    ];
    let sidecar = Sidecar::start(&app, &trusting).await;
    for (header, path) in [(V1, "/v1"), (V2, "/v2")] {
        let seen = asks_behind(&sidecar, header, path).await.unwrap();
        for line in ["X-Forwarded-For: 203.0.113.9", "X-Real-Ip: 203.0.113.9"] {
            assert!(lines(&seen).contains(&line), "{line} is missing in {seen}");
        }
        let record = sidecar.exchange(path).await;
        assert_eq!(
            (&record["client"], &record["client_port"]),
            (&"203.0.113.9".into(), &4711.into())
        );
    }
    // A health check of the load balancer's own.
    let seen = asks_behind(&sidecar, b"PROXY UNKNOWN\r\n", "/own")
        .await
        .unwrap();
    assert!(
        lines(&seen).contains(&"X-Forwarded-For: 127.0.0.1"),
        "{seen}"
    );
    // Who is not named is not believed either: nobody has looked at what such a client says.
    let mut stream = TcpStream::connect(sidecar.https).await.unwrap();
    stream.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    let mut stream = Client::h1(&sidecar).connect_on(stream).await.unwrap();
    let request = b"GET /claims HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let seen = read_answer(&mut stream).await.unwrap().text();
    assert!(!seen.contains("6.6.6.6"), "{seen}");
    // The redirect listener stands behind the same load balancer.
    let request = [V1, b"GET /clear HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    assert_eq!(send(sidecar.redirect.unwrap(), request).await.status, 308);
    assert_eq!(sidecar.exchange("/clear").await["client"], "203.0.113.9");
}

#[tokio::test]
async fn a_connection_without_its_proxy_header_is_refused_and_recorded() {
    let app = App::echo().await;
    let trusting = [
        "--proxy-protocol",
        "--trusted-proxy",
        "127.0.0.1",
        "--handshake-timeout",
        "300ms",
    ];
    let sidecar = Sidecar::start(&app, &trusting).await;
    for (header, why) in [
        (&b""[..], "this is none"),
        (b"PROXY TCP4 nonsense\r\n", "malformed"),
        (&[&V2[..12], b"\x31", &V2[13..]].concat(), "malformed"),
    ] {
        assert!(asks_behind(&sidecar, header, "/").await.is_err(), "{why}");
    }
    // Half of one, and nothing more: there is one deadline for this and the handshake.
    let mut stream = TcpStream::connect(sidecar.https).await.unwrap();
    stream.write_all(b"PROXY TCP4").await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    let records = eventually("four records", async || {
        let records = sidecar.records();
        let ours = records
            .into_iter()
            .filter(|record| record["reason"] == "bad_proxy_header");
        let ours: Vec<_> = ours.collect();
        (ours.len() == 4).then_some(ours)
    })
    .await;
    assert!(
        records
            .iter()
            .all(|record| record["kind"] == "handshake" && record["closed_by"] == "client")
    );
    assert!(
        records[3]["detail"]
            .as_str()
            .unwrap()
            .contains("--handshake-timeout"),
        "{records:?}"
    );
    assert_eq!(app.heads().len(), 0);
}

#[tokio::test]
async fn a_proxy_header_of_somebody_else_is_no_tls() {
    let app = App::echo().await;
    let trusting = ["--proxy-protocol", "--trusted-proxy", "10.0.0.0/8"];
    let sidecar = Sidecar::start(&app, &trusting).await;
    assert!(asks_behind(&sidecar, V2, "/").await.is_err());
    // Without one it is served, as who it is.
    let seen = asks_behind(&sidecar, b"", "/").await.unwrap();
    assert!(
        lines(&seen).contains(&"X-Forwarded-For: 127.0.0.1"),
        "{seen}"
    );
}

#[tokio::test]
async fn only_allowed_clients_are_served_and_others_are_counted() {
    let app = App::echo().await;
    let allowed = Sidecar::start(
        &app,
        &[
            "--allow-client",
            "10.0.0.0/8",
            "--allow-client",
            "127.0.0.0/8",
        ],
    )
    .await;
    assert_eq!(Client::h1(&allowed).get("/").await.status, 200);
    let others = [
        "--allow-client",
        "203.0.113.0/24",
        "--redirect",
        "127.0.0.1:0",
        "--proxy-protocol",
        "--trusted-proxy",
        "127.0.0.1",
    ];
    let sidecar = Sidecar::start(&app, &others).await;
    // Behind a load balancer the client counts, not the load balancer.
    assert!(asks_behind(&sidecar, V2, "/").await.is_ok());
    assert!(
        asks_behind(&sidecar, b"PROXY UNKNOWN\r\n", "/")
            .await
            .is_err()
    );
    let mut stream = TcpStream::connect(sidecar.redirect.unwrap()).await.unwrap();
    let from_elsewhere =
        b"PROXY TCP4 198.51.100.1 10.0.0.1 1 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(from_elsewhere).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    let metrics = sidecar.admin("/metrics").await.text();
    assert!(
        metrics.contains("\nportcullis_connections_not_allowed_total 2\n"),
        "{metrics}"
    );
}
