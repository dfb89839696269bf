use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, Sidecar, hello};

#[tokio::test]
async fn tls_12_and_13_are_spoken_and_a_floor_can_be_set() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for (version, name) in [(&TLS12, "1.2"), (&TLS13, "1.3")] {
        assert_eq!(
            Client::with_versions(&sidecar, &[], &[version])
                .get(&format!("/{name}"))
                .await
                .status,
            200
        );
        let record = sidecar.exchange(&format!("/{name}")).await;
        assert_eq!(
            (&record["tls"], &record["sni"], &record["generation"]),
            (&name.into(), &"localhost".into(), &1.into())
        );
        // The client would rather have AES with 256 bits: the server's order counts.
        let cipher = record["cipher"].as_str().unwrap();
        assert!(cipher.contains("AES_128_GCM_SHA256"), "{record}");
    }
    let strict = Sidecar::start(&app, &["--tls-min", "1.3"]).await;
    assert!(
        Client::with_versions(&strict, &[], &[&TLS12])
            .connect()
            .await
            .is_err()
    );
    let record = strict
        .record("refused", |record| record["kind"] == "handshake")
        .await;
    assert_eq!(record["reason"], "nothing_in_common");
    assert_eq!(
        record["detail"],
        "the client offered only versions of TLS below --tls-min"
    );
}

#[tokio::test]
async fn a_client_that_is_too_old_is_recorded_with_what_it_offered() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for (minor, name) in [(0, "SSL 3.0"), (1, "TLS 1.0"), (2, "TLS 1.1")] {
        let mut stream = TcpStream::connect(sidecar.https).await.unwrap();
        // One cipher suite, no compression, no extension.
        let random = [7; 32];
        let mut hello = vec![3, minor];
        hello.extend(random);
        hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
        let mut record = vec![
            22,
            3,
            1,
            0,
            hello.len() as u8 + 4,
            1,
            0,
            0,
            hello.len() as u8,
        ];
        record.extend(hello);
        stream.write_all(&record).await.unwrap();
        let told = format!("the client offered only {name}, which is below --tls-min");
        let record = sidecar
            .record(name, |record| record["detail"] == *told)
            .await;
        assert_eq!(record["reason"], "nothing_in_common");
        assert_eq!(record["closed_by"], "client");
    }
}

#[tokio::test]
async fn a_handshake_that_failed_is_recorded_with_what_was_asked_for() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--redact", "secret"]).await;
    let client = Client::new(&sidecar, &["spdy/3", "a\"b"]).asking("secret.example");
    client.connect().await.unwrap_err();
    let record = sidecar
        .record("refused", |record| record["kind"] == "handshake")
        .await;
    for (field, value) in [
        ("reason", "nothing_in_common"),
        ("sni", "[redacted].example"),
        ("alpn", "spdy/3,a\"b"),
        ("service", "under-test"),
        ("client", "127.0.0.1"),
    ] {
        assert_eq!(record[field], value, "{field} in {record}");
    }
    assert_eq!(record["status"], serde_json::Value::Null);
    let kept = sidecar
        .admin("/logs?kind=handshake&status=none")
        .await
        .json();
    assert_eq!(kept[0]["id"], record["id"]);
}

#[tokio::test]
async fn the_post_quantum_group_is_offered() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let stream = Client::h1(&sidecar).connect().await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn a_connection_is_served_as_what_alpn_agreed_on() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        // curl --http1.0 offers nothing else.
        (&["http/1.0"], Some("http/1.0")),
        (&[], None),
    ] {
        let stream = Client::new(&sidecar, offered).connect().await.unwrap();
        assert_eq!(
            stream.get_ref().1.alpn_protocol(),
            agreed.map(str::as_bytes)
        );
    }
    assert!(Client::new(&sidecar, &["spdy/3"]).connect().await.is_err());

    // HTTP/1 on a connection that agreed on HTTP/2 gets no HTTP/1 answer.
    let mut stream = Client::new(&sidecar, &["h2"]).connect().await.unwrap();
    stream
        .write_all(b"GET /guess HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut seen = Vec::new();
    let _ = stream.read_to_end(&mut seen).await;
    assert!(
        !seen.windows(5).any(|window| window == b"HTTP/"),
        "{:?}",
        String::from_utf8_lossy(&seen)
    );
    assert_eq!(app.heads().len(), 0);
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_in_time_is_closed_and_recorded() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--handshake-timeout", "150ms"]).await;
    for first in [&b""[..], b"\x16\x03\x01"] {
        let mut stream = TcpStream::connect(sidecar.https).await.unwrap();
        stream.write_all(first).await.unwrap();
        // Closed, by FIN or by RST.
        let _ = stream.read_to_end(&mut Vec::new()).await;
        let port = stream.local_addr().unwrap().port();
        let record = sidecar
            .record("timeout", |record| record["client_port"] == port)
            .await;
        assert_eq!(
            (&record["kind"], &record["reason"]),
            (&"handshake".into(), &"handshake_timeout".into())
        );
    }
}

#[tokio::test]
async fn what_is_not_tls_is_recorded_in_plain_words() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = TcpStream::connect(sidecar.https).await.unwrap();
    stream.write_all(b"\0junk that is no record").await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    let record = sidecar
        .record("not TLS", |record| record["kind"] == "handshake")
        .await;
    assert_eq!(record["reason"], "not_tls");
    assert!(
        record["detail"]
            .as_str()
            .unwrap()
            .contains("did not speak TLS"),
        "{record}"
    );
    assert_eq!(Client::h1(&sidecar).get("/").await.status, 200);
}

#[tokio::test]
async fn a_session_is_resumed_across_a_renewal() {
    let app = hello("hi").await;
    let mut sidecar = Sidecar::start(&app, &[]).await;
    for version in [&TLS12, &TLS13] {
        let client = Client::with_versions(&sidecar, &[], &[version]);
        client.get("/full").await;
        let renewed = sidecar.ca.leaf();
        sidecar.secret.swap(&renewed);
        let fresh = Client::h1(&sidecar);
        crate::support::eventually("the renewed certificate", async || {
            (fresh.served().await == renewed.der).then_some(())
        })
        .await;
        client.get("/resumed").await;
        let record = sidecar
            .record("resumed", |record| {
                record["path"] == "/resumed"
                    && record["tls"]
                        == if version.version == rustls::ProtocolVersion::TLSv1_2 {
                            "1.2"
                        } else {
                            "1.3"
                        }
            })
            .await;
        assert_eq!(record["resumed"], true, "{record}");
    }
}

#[tokio::test]
async fn a_hello_in_more_pieces_than_anybody_makes_is_refused_and_hides_no_name() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let names: Vec<String> = (0..45).map(|name| format!("{name:0>250}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut client = Client::new(&sidecar, &[&names[..], &["http/1.1"]].concat()).by_hand();
    let mut whole = Vec::new();
    client.write_tls(&mut whole).unwrap();
    assert!(whole.len() > 11_000);
    let mut stream = TcpStream::connect(sidecar.https).await.unwrap();
    // Of a handshake, records of one byte each.
    for byte in &whole[5..] {
        stream.write_all(&[22, 3, 1, 0, 1, *byte]).await.unwrap();
    }
    let record = sidecar
        .record("refused", |record| record["kind"] == "handshake")
        .await;
    assert_eq!(record["reason"], "not_tls", "{record}");
}
