use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{App, Ca, Client, Leaf, PATIENCE, Sidecar, h2_get, hello, read_answer};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn an_old_connection_is_told_to_go_after_its_next_answer() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--max-connection-age", "100ms"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let mut answers = 0;
    loop {
        stream.write_all(GET).await.unwrap();
        let answer = read_answer(&mut stream).await.unwrap();
        assert_eq!(answer.status, 200);
        answers += 1;
        if answer.field("connection") == Some("close") {
            break;
        }
    }
    assert!(answers > 1);
    // Closed in order, with close_notify, by the sidecar.
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    let young = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&young).connect().await.unwrap();
    for _ in 0..answers {
        stream.write_all(GET).await.unwrap();
        assert_eq!(
            read_answer(&mut stream).await.unwrap().field("connection"),
            None
        );
    }
}

#[tokio::test]
async fn an_old_http_2_connection_gets_goaway_and_its_streams_finish() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--max-connection-age", "100ms"]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    // Every request is answered until the client knows that it must come back on a new connection.
    let error = loop {
        match h2.exchange(h2_get("/"), None).await {
            Ok((status, ..)) => assert_eq!(status, 200),
            Err(error) => break error,
        }
    };
    assert!(error.is_go_away() || error.is_io(), "{error:?}");
    assert!(
        sidecar
            .records()
            .iter()
            .all(|record| record["kind"] != "exchange" || record["status"] == 200)
    );
}

async fn start(app: &App, ca: &Ca, args: &[&str]) -> Sidecar {
    let mut all = vec!["--client-auth", "optional"];
    all.extend(args);
    Sidecar::start_beside(app, &[("ca.crt", &ca.pem)], &all).await
}

fn h2(sidecar: &Sidecar, leaf: &Leaf) -> Client {
    Client::showing(sidecar, &[&leaf.der], leaf, &["h2"], rustls::ALL_VERSIONS)
}

#[tokio::test]
async fn a_client_that_is_trusted_no_more_is_sent_away_at_once_when_that_is_asked_for() {
    let app = hello("hi").await;
    let (one, two) = (Ca::named("one"), Ca::named("two"));
    let mut sidecar = start(&app, &one, &["--close-on-trust-change"]).await;
    let leaf = one.client("a", &[], 1);
    let mut idle = Client::as_client(&sidecar, &leaf).connect().await.unwrap();
    idle.write_all(GET).await.unwrap();
    assert_eq!(read_answer(&mut idle).await.unwrap().status, 200);
    let known = h2(&sidecar, &leaf).h2().await;
    assert_eq!(known.exchange(h2_get("/"), None).await.unwrap().0, 200);
    let mut nameless = Client::h1(&sidecar).connect().await.unwrap();
    nameless.write_all(GET).await.unwrap();
    assert_eq!(read_answer(&mut nameless).await.unwrap().status, 200);

    // A renewed certificate is no reason to go.
    sidecar.leaf = sidecar.ca.leaf();
    sidecar.swap_beside(&[("ca.crt", &one.pem)]);
    sidecar.published(2).await;
    idle.write_all(GET).await.unwrap();
    assert_eq!(
        read_answer(&mut idle).await.unwrap().field("connection"),
        None
    );

    sidecar.swap_beside(&[("ca.crt", &two.pem)]);
    sidecar.published(3).await;
    assert_eq!(idle.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    let error = loop {
        match known.exchange(h2_get("/late"), None).await {
            // On its way before GOAWAY was seen: answered, but not by the application.
            Ok((status, ..)) => assert_eq!(status, 403),
            Err(error) => break error,
        }
    };
    assert!(error.is_go_away() || error.is_io(), "{error:?}");
    // Who has shown nothing has lost nothing.
    nameless.write_all(GET).await.unwrap();
    assert_eq!(read_answer(&mut nameless).await.unwrap().status, 200);
    assert!(
        app.heads()
            .iter()
            .all(|head| !head.starts_with("GET /late"))
    );
}

#[tokio::test]
async fn without_that_a_connection_keeps_the_trust_it_began_with() {
    let app = hello("hi").await;
    let (one, two) = (Ca::named("one"), Ca::named("two"));
    let mut sidecar = start(&app, &one, &[]).await;
    let leaf = one.client("a", &[], 1);
    let mut kept = Client::as_client(&sidecar, &leaf).connect().await.unwrap();
    // In TLS 1.3 the client is done before it is let in: an answer says that it was.
    kept.write_all(GET).await.unwrap();
    assert_eq!(read_answer(&mut kept).await.unwrap().status, 200);
    sidecar.swap_beside(&[("ca.crt", &two.pem)]);
    sidecar.published(2).await;
    kept.write_all(GET).await.unwrap();
    assert_eq!(read_answer(&mut kept).await.unwrap().status, 200);
    Client::as_client(&sidecar, &leaf).is_refused().await;
}

#[tokio::test]
async fn what_a_distrusted_client_still_downloads_ends_with_the_drain_timeout() {
    let (one, two) = (Ca::named("one"), Ca::named("two"));
    // An answer that never ends.
    let app = App::scripted(async |mut talk| {
        talk.head().await?;
        talk.stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .await?;
        talk.stream.read_to_end(&mut Vec::new()).await.map(|_| ())
    })
    .await;
    let args = ["--close-on-trust-change", "--drain-timeout", "200ms"];
    let mut sidecar = start(&app, &one, &args).await;
    let leaf = one.client("a", &[], 1);
    let mut stream = Client::as_client(&sidecar, &leaf).connect().await.unwrap();
    stream
        .write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    crate::support::read_until(&mut stream, b"abc\r\n")
        .await
        .unwrap();
    sidecar.swap_beside(&[("ca.crt", &two.pem)]);
    // Cut: no close_notify, so that nobody takes it for whole.
    assert!(stream.read_to_end(&mut Vec::new()).await.is_err());
    let record = sidecar.exchange("/endless").await;
    assert_eq!(record["reason"], "client_not_trusted");
}

#[tokio::test]
async fn what_a_distrusted_client_still_uploads_ends_with_its_connection() {
    let (one, two) = (Ca::named("one"), Ca::named("two"));
    let (app, mut ended) = App::answering_early().await;
    let args = ["--close-on-trust-change", "--drain-timeout", "200ms"];
    let mut sidecar = start(&app, &one, &args).await;
    let leaf = one.client("a", &[], 1);
    let mut stream = Client::as_client(&sidecar, &leaf).connect().await.unwrap();
    stream
        .write_all(b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
        .await
        .unwrap();
    assert_eq!(read_answer(&mut stream).await.unwrap().text(), "early");
    sidecar.swap_beside(&[("ca.crt", &two.pem)]);
    let rest = tokio::time::timeout(PATIENCE, ended.recv()).await;
    assert_eq!(rest.expect("the upload ends").unwrap(), b"abc");
}
