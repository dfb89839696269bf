use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::frames::*;
use crate::support::{App, Client, Sidecar, eventually, hello};

fn of_reason<'a>(records: &'a [Value], reason: &str) -> Vec<&'a Value> {
    let is_it = |record: &&Value| record["reason"] == reason;
    records.iter().filter(is_it).collect()
}

#[tokio::test]
async fn frames_that_lead_nowhere_end_the_connection_and_leave_one_record() {
    let app = hello("hi").await;
    let begun = frame(HEADERS, END_HEADERS, 1, POST);
    let floods = [
        ("PING", vec![], frame(PING, 0, 0, b"12345678")),
        ("PING acknowledged", vec![], frame(PING, 1, 0, b"12345678")),
        (
            "SETTINGS",
            vec![],
            frame(SETTINGS, 0, 0, b"\0\x04\0\x01\0\0"),
        ),
        ("PRIORITY", vec![], frame(PRIORITY, 0, 3, b"\0\0\0\0\x10")),
        ("unknown", vec![], frame(UNKNOWN, 0, 0, b"?")),
        (
            "windows",
            begun.clone(),
            frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x01"),
        ),
        ("empty DATA", begun.clone(), frame(DATA, 0, 1, b"")),
    ];
    for (what, before, flood) in floods {
        let sidecar = Sidecar::start(&app, &[]).await;
        let mut raw = Raw::open(&sidecar).await;
        let seen = app.heads().len();
        raw.say(&before).await;
        eventually("the request is open", async || {
            (before.is_empty() || app.heads().len() > seen).then_some(())
        })
        .await;
        raw.say(&flood.repeat(5000)).await;
        assert_eq!(raw.sent_away().await, ENHANCE_YOUR_CALM, "{what}");
        let mut other = Raw::open(&sidecar).await;
        other
            .say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET))
            .await;
        assert_eq!(other.next().await.unwrap().kind, HEADERS, "{what}");
        sidecar
            .record("of the connection", |record| {
                record["reason"] == "h2_abuse" && record["method"].is_null()
            })
            .await;
        // One of the connection, and one of the request that was open on it.
        let wanted = 1 + usize::from(!before.is_empty());
        eventually(&format!("all records of {what}"), async || {
            let count = of_reason(&sidecar.records(), "h2_abuse").len();
            assert!(count <= wanted, "{what}");
            (count == wanted).then_some(())
        })
        .await;
        let metrics = sidecar.probe("/metrics").await.text();
        let counted =
            r#"portcullis_requests_total{method="other",code="none",reason="h2_abuse"} 1"#;
        assert!(metrics.contains(counted), "{what}: {metrics}");
    }
}

#[tokio::test]
async fn requests_that_are_begun_and_left_end_the_connection_before_the_application_has_many() {
    let app = App::scripted(|mut talk| async move {
        // Never answers.
        while talk.head().await?.is_some() {}
        Ok(())
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut raw = Raw::open(&sidecar).await;
    for number in 0..600 {
        let stream = 2 * number + 1;
        let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
        raw.say(&request).await;
        // Each has the time to get to the application.
        if number < 20 {
            eventually("it is there", async || {
                (app.heads().len() > number as usize).then_some(())
            })
            .await;
        } else {
            tokio::task::yield_now().await;
        }
        raw.say(&frame(RESET, 0, stream, &8u32.to_be_bytes())).await;
    }
    assert_eq!(raw.sent_away().await, ENHANCE_YOUR_CALM);
    // As many as a connection begins with, and what a slow machine gives back meanwhile.
    assert!(app.heads().len() < 300, "{}", app.heads().len());
}

#[tokio::test]
async fn a_client_that_opens_its_window_often_and_asks_for_the_time_is_no_abuser() {
    let app = App::scripted(|mut talk| async move {
        talk.head().await?;
        talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await?;
        // A piece at a time, so that each is a frame.
        for _ in 0..1500 {
            talk.say(b"1\r\nx\r\n").await?;
            tokio::task::yield_now().await;
        }
        talk.say(b"0\r\n\r\n").await
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let mut raw = Raw::open(&sidecar).await;
    raw.say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET))
        .await;
    let mut read = 0;
    loop {
        let next = raw.next().await.expect("the connection goes on");
        assert_ne!(next.kind, GOAWAY, "{next:?}, {read} read");
        if next.kind != DATA {
            continue;
        }
        read += next.payload.len();
        if next.flags & END_STREAM != 0 {
            break;
        }
        let opened = [
            frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()),
            frame(WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes()),
            frame(PING, 0, 0, b"whattime"),
        ];
        raw.say(&opened.concat()).await;
    }
    assert_eq!(read, 1500);
    assert_eq!(sidecar.exchange("/").await["reason"], "");
}

#[tokio::test]
async fn a_head_or_a_frame_that_does_not_come_in_time_ends_the_connection() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--head-timeout", "200ms"]).await;
    for half in [
        frame(HEADERS, 0, 1, GET),
        [
            frame(HEADERS, 0, 1, GET),
            frame(CONTINUATION, 0, 1, b"\x82"),
        ]
        .concat(),
        frame(PING, 0, 0, b"12345678")[..12].to_vec(),
        vec![0, 0],
    ] {
        let before = of_reason(&sidecar.records(), "head_timeout").len();
        let mut raw = Raw::open(&sidecar).await;
        raw.say(&half).await;
        assert_eq!(raw.sent_away().await, ENHANCE_YOUR_CALM, "{half:?}");
        eventually("one record", async || {
            let now = of_reason(&sidecar.records(), "head_timeout").len();
            (now == before + 1).then_some(())
        })
        .await;
    }
    // The preface is a head, too; who says nothing at all leaves nothing.
    let mut raw = Client::new(&sidecar, &["h2"]).connect().await.unwrap();
    raw.write_all(b"PRI * HT").await.unwrap();
    assert!(!matches!(raw.read(&mut [0; 100]).await, Ok(count) if count > 40));
    eventually("its record", async || {
        (of_reason(&sidecar.records(), "head_timeout").len() == 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_never_becomes_a_request_leaves_a_record_all_the_same() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--h2-streams", "1"]).await;
    // A field that HTTP/2 does not have.
    let mut raw = Raw::open(&sidecar).await;
    let connection = [GET, b"\x40\x0aconnection\x05close"].concat();
    raw.say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &connection))
        .await;
    let reset = raw.next().await.unwrap();
    assert_eq!((reset.kind, reset.stream), (RESET, 1));
    assert_eq!(reset.number(0), PROTOCOL_ERROR);
    let bad = sidecar
        .record("malformed", |record| record["reason"] == "bad_request")
        .await;
    assert_eq!(
        (&bad["http"], &bad["status"], &bad["closed_by"]),
        (&"2".into(), &Value::Null, &"client".into())
    );
    // A list of fields that is too large is answered by the `h2` crate itself.
    let value = [b'v'; 120];
    let large = [&[0x40, 1, b'x', 120][..], &value].concat().repeat(300);
    let large = [GET, &large].concat();
    let (first, rest) = large.split_at(16_000);
    raw.say(&frame(HEADERS, END_STREAM, 3, first)).await;
    for part in rest.chunks(16_000) {
        let is_last = part.as_ptr_range().end == large.as_ptr_range().end;
        let flags = if is_last { END_HEADERS } else { 0 };
        raw.say(&frame(CONTINUATION, flags, 3, part)).await;
    }
    let answer = raw.next().await.unwrap();
    assert_eq!((answer.kind, answer.stream), (HEADERS, 3));
    let large = sidecar
        .record("large", |record| record["reason"] == "head_too_large")
        .await;
    assert_eq!(large["status"], 431);
    // A body that is shorter than it was said to be.
    let mut raw = Raw::open(&sidecar).await;
    let five = [POST, b"\x5c\x015"].concat();
    raw.say(&frame(HEADERS, END_HEADERS, 1, &five)).await;
    raw.say(&frame(DATA, END_STREAM, 1, b"abc")).await;
    let reset = raw.next().await.unwrap();
    assert_eq!((reset.kind, reset.number(0)), (RESET, PROTOCOL_ERROR));
    sidecar
        .record("shorter", |record| record["reason"] == "bad_framing")
        .await;
    // More streams than there may be.
    let mut raw = Raw::open(&sidecar).await;
    let both = [
        frame(HEADERS, END_HEADERS, 1, POST),
        frame(HEADERS, END_HEADERS, 3, POST),
    ];
    raw.say(&both.concat()).await;
    let reset = raw.next().await.unwrap();
    assert_eq!(
        (reset.kind, reset.stream, reset.number(0)),
        (RESET, 3, REFUSED_STREAM)
    );
    sidecar
        .record("one too many", |record| {
            record["reason"] == "too_many_streams"
        })
        .await;
    // HTTP/1 where HTTP/2 was agreed on.
    let mut raw = Client::new(&sidecar, &["h2"]).connect().await.unwrap();
    raw.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let _ = raw.read_to_end(&mut Vec::new()).await;
    sidecar
        .record("another protocol", |record| {
            record["reason"] == "h2_error" && record["http"] == "2"
        })
        .await;
}
