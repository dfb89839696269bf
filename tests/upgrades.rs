use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request as Asked, Response as Agreed};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use crate::support::{App, Client, Sidecar, read_answer, read_until};

/// A WebSocket application that sends everything back, and says bye with code 1000 when the client does.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
                let choose = |asked: &Asked, mut agreed: Agreed| {
                    if let Some(offered) = asked.headers().get("sec-websocket-protocol") {
                        let chosen = offered.to_str().unwrap().split(',').next().unwrap();
                        let fields = agreed.headers_mut();
                        fields.insert("sec-websocket-protocol", chosen.parse().unwrap());
                    }
                    Ok(agreed)
                };
                let Ok(mut socket) = accept_hdr_async(stream, choose).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() || message.is_binary() {
                        let _ = socket.send(message).await;
                    }
                }
            });
        }
    });
    address
}

/// Sends and receives messages, small ones and one that fills every buffer on the way.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) {
    let large = Bytes::from(vec![7; 3 << 20]);
    for message in [
        Message::text("hello"),
        Message::binary(large),
        Message::text(""),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket
        .send(Message::Ping("are you there".into()))
        .await
        .unwrap();
    let pong = socket.next().await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("are you there".into()));
    socket.close(None).await.unwrap();
    let bye = socket.next().await.unwrap().unwrap();
    assert!(bye.is_close(), "{bye:?}");
    assert!(socket.next().await.is_none_or(|last| last.is_err()));
}

#[tokio::test]
async fn a_websocket_over_http1_goes_through_both_ways_and_leaves_one_record() {
    let sidecar = Sidecar::start(echo().await, &[]).await;
    let stream = Client::h1(&sidecar).connect().await.unwrap();
    let request = Request::get("wss://localhost/chat?room=1")
        .header("host", "localhost")
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "chat, other")
        .body(())
        .unwrap();
    let (socket, agreed) = client_async(request, stream).await.unwrap();
    assert_eq!(agreed.headers()["sec-websocket-protocol"], "chat");
    converse(socket).await;
    let record = sidecar.exchange("/chat").await;
    assert_eq!(
        (&record["status"], &record["reason"], &record["http"]),
        (&101.into(), &"".into(), &"1.1".into())
    );
    for way in ["bytes_in", "bytes_out"] {
        assert!(record[way].as_u64().unwrap() > 3 << 20, "{record}");
    }
}

/// hyper's own client for HTTP/2, on a connection of its own.
async fn hyper_h2(sidecar: &Sidecar) -> hyper::client::conn::http2::SendRequest<Empty<Bytes>> {
    let stream = Client::new(sidecar, &["h2"]).connect().await.unwrap();
    let (send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    send
}

/// Asks for a WebSocket.
async fn opens(
    h2: &mut hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    path: &str,
) -> http::Response<hyper::body::Incoming> {
    let request = extended_connect(path, "websocket");
    h2.send_request(request).await.unwrap()
}

fn extended_connect(path: &str, protocol: &'static str) -> Request<Empty<Bytes>> {
    Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://localhost{path}"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat, other")
        .extension(Protocol::from_static(protocol))
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn a_websocket_over_http2_is_bridged_to_an_application_of_http1() {
    let sidecar = Sidecar::start(echo().await, &[]).await;
    let mut h2 = hyper_h2(&sidecar).await;
    for path in ["/one", "/two"] {
        let response = opens(&mut h2, path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        for absent in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!response.headers().contains_key(absent), "{absent}");
        }
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        let stream = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        converse(socket).await;
        let record = sidecar.exchange(path).await;
        assert_eq!(
            (
                &record["status"],
                &record["reason"],
                &record["http"],
                &record["method"]
            ),
            (&200.into(), &"".into(), &"2".into(), &"CONNECT".into())
        );
    }
}

#[tokio::test]
async fn a_websocket_over_http2_is_told_1001_in_the_drain_and_is_no_straggler() {
    let sidecar = Sidecar::start(echo().await, &["--drain-timeout", "1m"]).await;
    let mut h2 = hyper_h2(&sidecar).await;
    let response = opens(&mut h2, "/chat").await;
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    let stream = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap().to_text().unwrap(),
        "hello"
    );
    sidecar.signal(rustix::process::Signal::TERM);
    let bye = socket.next().await.unwrap().unwrap();
    let Message::Close(Some(said)) = bye else {
        panic!("{bye:?}");
    };
    assert_eq!(u16::from(said.code), 1001);
    // The answer leaves when the socket is asked for more, which there is none of.
    while let Some(Ok(_)) = socket.next().await {}
    drop((socket, h2));
    let ended = sidecar.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("drained_by_kind=1 http2"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_websocket_goes_to_an_application_of_http2_from_either_kind_of_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serve = hyper::service::service_fn(|mut request| async move {
                assert_eq!(*request.method(), Method::CONNECT);
                assert!(request.extensions().get::<Protocol>().is_some());
                assert!(!request.headers().contains_key("sec-websocket-key"));
                tokio::spawn(async move {
                    let stream = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
                    let mut socket =
                        WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
                    while let Some(Ok(message)) = socket.next().await {
                        if message.is_text() || message.is_binary() {
                            let _ = socket.send(message).await;
                        }
                    }
                    // Dropped as it is, the stream would be reset, which is no orderly end.
                    let _ = socket.get_mut().shutdown().await;
                });
                Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<Bytes>::new()))
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .enable_connect_protocol()
                    .serve_connection(TokioIo::new(stream), serve),
            );
        }
    });
    let sidecar = Sidecar::start(format!("h2c://{address}"), &[]).await;
    let mut h2 = hyper_h2(&sidecar).await;
    let response = opens(&mut h2, "/h2").await;
    assert_eq!(response.status(), StatusCode::OK);
    let stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    converse(WebSocketStream::from_raw_socket(stream, Role::Client, None).await).await;

    let stream = Client::h1(&sidecar).connect().await.unwrap();
    // This client checks the proof that its key was understood.
    let (socket, _) = client_async("wss://localhost/h1", stream).await.unwrap();
    converse(socket).await;
    for path in ["/h1", "/h2"] {
        assert_eq!(sidecar.exchange(path).await["reason"], "", "{path}");
    }
}

/// Answers every request for an upgrade with these bytes.
async fn app_answering(bytes: &'static str) -> App {
    App::scripted(move |mut talk| async move {
        while talk.head().await?.is_some() {
            talk.say(bytes.as_bytes()).await?;
        }
        Ok(())
    })
    .await
}

const UPGRADE: &str = "GET /u HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[tokio::test]
async fn an_application_that_does_not_agree_answers_as_to_any_other_request() {
    let app = app_answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    // What was sent behind the request is the next request, and not the tunnel's.
    let both = format!("{UPGRADE}GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(both.as_bytes()).await.unwrap();
    for _ in 0..2 {
        let answer = read_answer(&mut stream).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    }
    assert!(
        app.heads()[1].starts_with("GET /next HTTP/1.1\r\n"),
        "{:?}",
        app.heads()
    );
    let mut h2 = hyper_h2(&sidecar).await;
    let response = opens(&mut h2, "/h2").await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "no"
    );
}

#[tokio::test]
async fn a_tunnel_is_not_opened_on_an_answer_that_only_looks_like_agreement() {
    for (answer, over_h1, over_h2) in [
        // To a CONNECT every 2xx would open the tunnel.
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 502),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
            502,
            502,
        ),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", 502, 502),
        // There is no proof, and the sidecar does not make one up for the application.
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            101,
            502,
        ),
        // The proof is another key's.
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
            101,
            502,
        ),
    ] {
        let app = app_answering(answer).await;
        let sidecar = Sidecar::start(&app, &[]).await;
        let told = Client::h1(&sidecar).send(UPGRADE).await;
        assert_eq!(told.status, over_h1, "{answer:?}");
        let proof = told.field("sec-websocket-accept");
        assert_eq!(proof.is_some(), answer.contains("Accept"), "{answer:?}");
        let mut h2 = hyper_h2(&sidecar).await;
        let response = opens(&mut h2, "/h2").await;
        assert_eq!(response.status(), over_h2, "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_request_for_an_upgrade_is_a_request_like_any_other() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for fields in [
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n",
        "Connection: Upgrade\r\nUpgrade: H2C\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n",
        "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n",
        // Behind a body there is no telling where the other protocol begins.
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n",
    ] {
        let body = if fields.contains("Length") { "hi" } else { "" };
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
        let answer = Client::h1(&sidecar).send(request).await;
        let seen = answer.text().to_ascii_lowercase();
        assert_eq!(answer.status, 200);
        assert!(
            !seen.contains("upgrade") && !seen.contains("http2-settings"),
            "{fields}: {seen}"
        );
    }
    let old = "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let seen = Client::h1(&sidecar)
        .send(old)
        .await
        .text()
        .to_ascii_lowercase();
    assert!(!seen.contains("upgrade"), "{seen}");
    // Nothing but WebSocket crosses from HTTP/2 to HTTP/1.
    let mut h2 = hyper_h2(&sidecar).await;
    let response = h2
        .send_request(extended_connect("/", "connect-udp"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn any_other_protocol_is_tunnelled_too_with_the_first_bytes_of_both_sides() {
    let app = App::scripted(|mut talk| async move {
        let head = talk.head().await?.unwrap_or_default();
        assert!(head.contains("\r\nUpgrade: Custom/7\r\n"), "{head}");
        talk.say(b"HTTP/1.1 101 Go On\r\nConnection: upgrade\r\nUpgrade: custom/7\r\nX-App: yes\r\n\r\nfirst words").await?;
        let mut early = [0; 5];
        talk.stream.read_exact(&mut early).await?;
        talk.say(&early).await?;
        // The client's end comes through, and the answer to it.
        let mut rest = Vec::new();
        talk.stream.read_to_end(&mut rest).await?;
        talk.say(&rest).await
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /raw HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: Custom/7\r\n\r\nearly")
        .await
        .unwrap();
    let head = String::from_utf8(read_until(&mut stream, b"\r\n\r\n").await.unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for field in ["Connection: Upgrade", "Upgrade: Custom/7", "X-App: yes"] {
        assert!(
            head.contains(&format!("\r\n{field}\r\n")),
            "{field} is missing in {head}"
        );
    }
    assert_eq!(
        read_until(&mut stream, b"early").await.unwrap(),
        b"first wordsearly"
    );
    stream.write_all(b"last words").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "last words");
    let record = sidecar.exchange("/raw").await;
    assert_eq!(
        (&record["reason"], &record["bytes_in"], &record["bytes_out"]),
        (&"".into(), &15.into(), &26.into())
    );
}

#[tokio::test]
async fn when_one_end_of_a_tunnel_breaks_the_other_is_let_go_and_the_record_says_who() {
    // The application breaks off.
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.say(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .await?;
        talk.stream.read_u8().await?;
        talk.stream.set_zero_linger()
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let request = b"GET /app HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    read_until(&mut stream, b"\r\n\r\n").await.unwrap();
    stream.write_all(b"!").await.unwrap();
    assert!(
        stream.read_to_end(&mut Vec::new()).await.is_err(),
        "an orderly end"
    );
    assert_eq!(
        sidecar.exchange("/app").await["reason"],
        "upstream_truncated"
    );

    // The client breaks off: the application sees the end.
    let (gone, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let app = App::scripted(move |mut talk| {
        let gone = gone.clone();
        async move {
            talk.head().await?;
            talk.say(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
                .await?;
            let _ = talk.stream.read_u8().await;
            let _ = gone.send(());
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream.write_all(request).await.unwrap();
    read_until(&mut stream, b"\r\n\r\n").await.unwrap();
    stream.get_ref().0.set_zero_linger().unwrap();
    drop(stream);
    seen.recv().await.unwrap();
    assert_eq!(sidecar.exchange("/app").await["reason"], "client_gone");
}

#[tokio::test]
async fn a_length_on_an_extended_connect_is_no_bodys() {
    let app = app_answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri("https://localhost/length")
        .header("content-length", "5")
        .body(())
        .unwrap();
    let websocket = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(websocket);
    let (response, mut stream) = h2.begin(request, false).await;
    stream.send_data(Bytes::from("hello"), false).unwrap();
    assert_eq!(response.await.unwrap().status(), 403);
    let head = app.heads()[0].to_ascii_lowercase();
    assert!(
        head.starts_with("get /length ") && !head.contains("content-length"),
        "{head}"
    );
}

#[tokio::test]
async fn a_connection_on_which_an_upgrade_was_refused_is_not_used_again() {
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&connections);
    let app = App::scripted(move |mut talk| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            while talk.head().await?.is_some() {
                talk.answer("200 OK", b"no").await?;
            }
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &["--workers", "1"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    for request in [UPGRADE, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"] {
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.unwrap().text(), "no");
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::Relaxed), 2);
    // And its answer is held to the same rules as any other.
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let app = app_answering(twice).await;
    let sidecar = Sidecar::start(&app, &[]).await;
    assert_eq!(Client::h1(&sidecar).send(UPGRADE).await.status, 502);
}

#[tokio::test]
async fn a_client_that_resets_its_tunnel_is_noticed_although_the_application_reads_nothing() {
    let (hold, held) = tokio::sync::oneshot::channel::<()>();
    let held = std::sync::Arc::new(tokio::sync::Mutex::new(Some(held)));
    let app = App::scripted(move |mut talk| {
        let held = std::sync::Arc::clone(&held);
        async move {
            let head = talk.head().await?.unwrap_or_default();
            let key = head.lines().find_map(|line| line.strip_prefix("Sec-Websocket-Key: "));
            let proof = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.unwrap().as_bytes());
            talk.say(format!("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {proof}\r\n\r\n").as_bytes()).await?;
            let held = held.lock().await.take();
            let _ = held.unwrap().await;
            Ok(())
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri("https://localhost/deaf")
        .body(())
        .unwrap();
    let websocket = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(websocket);
    let (response, mut stream) = h2.begin(request, false).await;
    assert_eq!(response.await.unwrap().status(), 200);
    // Until every buffer on the way is full: then the window does not open any more.
    while let Ok(Some(Ok(granted))) =
        tokio::time::timeout(std::time::Duration::from_millis(300), async {
            stream.reserve_capacity(16384);
            std::future::poll_fn(|cx| stream.poll_capacity(cx)).await
        })
        .await
    {
        stream
            .send_data(Bytes::from(vec![7; granted]), false)
            .unwrap();
    }
    stream.send_reset(h2::Reason::CANCEL);
    assert_eq!(sidecar.exchange("/deaf").await["reason"], "client_gone");
    drop(hold);
}
