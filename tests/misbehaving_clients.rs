use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    App, Ca, Client, Secret, Sidecar, eventually, h2_get, hello, portcullis, read_answer,
    read_until,
};

#[tokio::test]
async fn a_broken_chunk_is_the_clients_fault_and_cuts_the_upstream_request() {
    let (app, mut ended) = App::listening().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(
            b"POST /bad HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        )
        .await
        .unwrap();
    eventually("the app has the head", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    stream.write_all(b"zz\r\n").await.unwrap();
    let answer = read_answer(&mut stream).await.unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    let record = sidecar.exchange("/bad").await;
    assert_eq!(
        (&record["reason"], &record["closed_by"], &record["bytes_in"]),
        (&"bad_framing".into(), &"client".into(), &3.into())
    );
    let rest = ended.recv().await.unwrap();
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "the upstream request was ended as if it were whole: {rest:?}"
    );
}

#[tokio::test]
async fn a_client_that_disappears_mid_body_does_not_complete_the_upstream_request() {
    let (app, mut ended) = App::listening().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for head in [
        "Content-Length: 100\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let before = app.heads().len();
        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        stream
            .write_all(format!("POST /gone HTTP/1.1\r\nHost: a\r\n{head}").as_bytes())
            .await
            .unwrap();
        eventually("the app has the head", async || {
            (app.heads().len() > before).then_some(())
        })
        .await;
        drop(stream.into_inner().0);
        let rest = ended.recv().await.unwrap();
        assert!(
            !rest.ends_with(b"0\r\n\r\n") && rest.len() < 100,
            "{rest:?}"
        );
    }
    let gone = |record: &&serde_json::Value| record["path"] == "/gone";
    let records = eventually("both records", async || {
        let records = sidecar.records();
        (records.iter().filter(gone).count() == 2).then_some(records)
    })
    .await;
    for record in records.iter().filter(gone) {
        assert_eq!(
            (&record["reason"], &record["status"], &record["bytes_in"]),
            (&"client_gone".into(), &serde_json::Value::Null, &3.into())
        );
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_gets_408() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--head-timeout", "150ms"]).await;
    let mut slow = Client::h1(&sidecar).connect().await.unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHo").await.unwrap();
    assert_eq!(read_answer(&mut slow).await.unwrap().status, 408);
    let record = sidecar
        .record("slow", |record| record["reason"] == "head_timeout")
        .await;
    assert_eq!(
        (&record["method"], &record["path"], &record["status"]),
        (&"GET".into(), &"/slow".into(), &408.into())
    );
}

#[tokio::test]
async fn an_idle_connection_ends_in_order_and_without_a_record() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--idle-timeout", "2s"]).await;
    let mut idle = Client::h1(&sidecar).connect().await.unwrap();
    idle.write_all(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_answer(&mut idle).await.unwrap().status, 200);
    // close_notify and no bytes.
    assert_eq!(idle.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    sidecar.exchange("/first").await;
    assert_eq!(
        sidecar
            .records()
            .iter()
            .filter(|record| record["kind"] == "exchange")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_request_target_has_the_same_limit_over_http2() {
    let app = hello("unreachable").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let long = http::Request::get(format!("https://localhost/{}", "x".repeat(20_000)))
        .body(())
        .unwrap();
    assert_eq!(h2.exchange(long, None).await.unwrap().0, 414);
    assert_eq!(
        sidecar
            .record("long", |record| record["reason"] == "uri_too_long")
            .await["status"],
        414
    );
    assert_eq!(app.heads(), Vec::<String>::new());
}

#[tokio::test]
async fn an_idle_http2_connection_is_told_goodbye() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--idle-timeout", "150ms"]).await;
    let mut stream = Client::new(&sidecar, &["h2"]).connect().await.unwrap();
    // The preface and an empty SETTINGS, and nothing more but the answer to a PING.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut goaways = Vec::new();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        match head[3] {
            PING if head[4] == 0 => {
                stream
                    .write_all(&[&[0, 0, 8, PING, 1, 0, 0, 0, 0], &payload[..]].concat())
                    .await
                    .unwrap();
            }
            GOAWAY => goaways.push(payload[4..8].to_vec()),
            _ => {}
        }
    }
    assert!(
        !goaways.is_empty() && goaways.iter().all(|code| code == &[0; 4]),
        "{goaways:?}"
    );
    assert_eq!(
        stream.read(&mut head).await.unwrap(),
        0,
        "the connection was cut, not ended"
    );
}

const PING: u8 = 6;
const GOAWAY: u8 = 7;

#[tokio::test]
async fn a_refusal_reaches_an_http2_client_as_an_answer() {
    let app = hello("unreachable").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let get = || http::Request::get("https://localhost/refused");
    for (request, status, reason) in [
        (get().header("host", "other.example"), 400, "bad_host"),
        (get().header("content-length", "00"), 400, "bad_request"),
        (
            get()
                .header("content-length", "0")
                .header("content-length", "0"),
            400,
            "bad_request",
        ),
        (
            http::Request::builder()
                .method("TRACE")
                .uri("https://localhost/refused"),
            405,
            "method_refused",
        ),
    ] {
        let (answered, _, body) = h2.exchange(request.body(()).unwrap(), None).await.unwrap();
        assert_eq!(answered, status, "{}", String::from_utf8_lossy(&body));
        let record = sidecar
            .record(reason, |record| record["reason"] == reason)
            .await;
        assert_eq!(record["status"], status);
    }
    assert_eq!(app.heads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_client_that_breaks_its_upload_off_is_blamed_for_the_broken_response() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
            .await?;
        while talk.stream.read_u8().await.is_ok() {}
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    for (rest, reason) in [(Some("zz\r\n"), "bad_framing"), (None, "client_gone")] {
        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        stream
            .write_all(
                b"POST /both HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            )
            .await
            .unwrap();
        read_until(&mut stream, b"hi\r\n").await.unwrap();
        match rest {
            Some(rest) => stream.write_all(rest.as_bytes()).await.unwrap(),
            None => drop(stream.into_inner().0),
        }
        let record = sidecar
            .record(reason, |record| record["reason"] == reason)
            .await;
        assert_eq!(
            (&record["path"], &record["closed_by"]),
            (&"/both".into(), &"client".into())
        );
    }
}

#[tokio::test]
async fn a_client_with_many_requests_leaves_file_descriptors_for_everybody_else() {
    let app = App::scripted(|mut talk| async move {
        // Never answers.
        while talk.head().await?.is_some() {}
        Ok(())
    })
    .await;
    let (ca, secret) = (Ca::new(), Secret::empty());
    let leaf = ca.leaf();
    let (certificate, key) = (secret.file("my.crt"), secret.file("my.key"));
    std::fs::write(&certificate, &leaf.certificate).unwrap();
    std::fs::write(&key, &leaf.key).unwrap();
    let real = portcullis();
    let mut command = std::process::Command::new("sh");
    command
        .env_clear()
        .args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""])
        .arg(real.get_program())
        .args(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--probe", "127.0.0.1:0", "--target", &app.to_string()])
        .arg("--cert")
        .arg(&certificate)
        .arg("--key")
        .arg(&key);
    let sidecar = Sidecar::spawn(command, ca, leaf, secret).await;
    sidecar.ready().await;
    let h2 = Client::new(&sidecar, &["h2"]).h2().await;
    let asking: Vec<_> = (0..80)
        .map(|_| {
            let h2 = h2.clone();
            tokio::spawn(async move { h2.exchange(h2_get("/slow"), None).await })
        })
        .collect();
    // Of 200 descriptors half are kept back; clients and the application share the rest.
    eventually("some are refused", async || {
        let refused = asking.iter().filter(|one| one.is_finished()).count();
        (refused == 80 - 50).then_some(())
    })
    .await;
    assert_eq!(
        sidecar.exchange("/slow").await["reason"],
        "upstream_exhausted"
    );
    assert_eq!(sidecar.probe("/livez").await.status, 200);
    assert!(Client::h1(&sidecar).connect().await.is_ok());
}
