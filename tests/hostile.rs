use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::frames::*;
use crate::support::{
    App, Client, H2, Sidecar, eventually, h2_get, hello, read_answer, read_until,
};

/// The record of the `number`th exchange.
async fn nth(sidecar: &Sidecar, number: usize) -> Value {
    eventually("its record", async || {
        let records = sidecar.records();
        let mut exchanges = records
            .into_iter()
            .filter(|record| record["kind"] == "exchange");
        exchanges.nth(number)
    })
    .await
}

#[tokio::test]
async fn what_can_be_read_two_ways_is_refused_before_the_application_sees_a_byte() {
    let app = hello("unreachable").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let client = Client::h1(&sidecar);
    let get = |more: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n\r\n");
    let post = |more: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{more}\r\n\r\nabc");
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    let host = |host: &str| format!("GET / HTTP/1.1\r\n{host}\r\n\r\n");
    let bad = (400, "bad_request");
    let bad_host = (400, "bad_host");
    let refused = (405, "method_refused");
    let mut rows = vec![
        (
            "H1",
            post("Content-Length: 3\r\nTransfer-Encoding: chunked"),
            bad,
        ),
        (
            "H1",
            post("Transfer-Encoding: chunked\r\nContent-Length: 3"),
            bad,
        ),
        ("H3", post("Content-Length: 3\r\nContent-Length: 3"), bad),
        ("H2", post("Content-Length: 3\r\nContent-Length: 4"), bad),
        (
            "H7",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            bad,
        ),
        ("H7", post("Transfer-Encoding : chunked"), bad),
        ("H7", post("Content-Length : 3"), bad),
        ("H13", get("X: a\rb"), bad),
        ("H13", get("X: a\0b"), bad),
        ("H13", get("X: a\x0bb"), bad),
        ("H13", get("X\0: a"), bad),
        ("H13", get("X y: a"), bad),
        ("H13", get("X\u{e4}: a"), bad),
        ("H13", get("no colon"), bad),
        ("H13", get(": a"), bad),
        ("H14", get("X: a\r\n folded"), bad),
        ("H14", get("X: a\r\n\tfolded"), bad),
        ("H14", get(" X: a"), bad),
        ("H15", "GET / HTTP/1.1\nHost: a\n\n".into(), bad),
        ("H15", "GET / HTTP/1.1\r\nHost: a\n\r\n".into(), bad),
        ("H16", host("X: y"), bad_host),
        ("H16", host("Host: a\r\nHost: a"), bad_host),
        ("H16", host("Host: a\r\nHost: b"), bad_host),
        ("H16", host("Host: a, b"), bad_host),
        ("H16", host("Host: a b"), bad_host),
        ("H16", host("Host: a/b"), bad_host),
        ("H16", host("Host: u@a"), bad_host),
        ("H16", host("Host: a:99999"), bad_host),
        (
            "H18",
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".into(),
            refused,
        ),
        ("H18", line("TRACE / HTTP/1.1"), refused),
        ("H18", line("GET * HTTP/1.1"), bad),
        ("H19", "GET /\r\n".into(), bad),
        ("H20", line("GET  / HTTP/1.1"), bad),
        ("H20", line("GET / HTTP/1.1 "), bad),
        ("H20", line("GET\t/ HTTP/1.1"), bad),
        ("H20", line(" GET / HTTP/1.1"), bad),
        (
            "H21",
            format!("{}{}", "\r\n".repeat(50_000), get("X: y")),
            bad,
        ),
        (
            "H22",
            line(&format!("{} / HTTP/1.1", "M".repeat(70_000))),
            (414, "uri_too_long"),
        ),
        (
            "H22",
            line(&format!("GET /{} HTTP/1.1", "x".repeat(70_000))),
            (414, "uri_too_long"),
        ),
        (
            "H22",
            get(&format!("{}: y", "X".repeat(70_000))),
            (431, "head_too_large"),
        ),
        (
            "H22",
            get(&format!("X: {}", "y".repeat(1_000_000))),
            (431, "head_too_large"),
        ),
        (
            "H22",
            get(&"X: y\r\n".repeat(100)),
            (431, "too_many_fields"),
        ),
        (
            "H22",
            get(&"X: y\r\n".repeat(5000)),
            (431, "too_many_fields"),
        ),
        ("H23", line("GET /\0 HTTP/1.1"), bad),
        ("H23", line("GET /a b HTTP/1.1"), bad),
        ("H23", line("GET /#fragment HTTP/1.1"), bad),
        ("H23", line("GET foo HTTP/1.1"), bad),
        ("H23", line("GET http:// HTTP/1.1"), bad),
        ("H23", line("GET ://a HTTP/1.1"), bad),
        ("H23", line("GET ftp://a/ HTTP/1.1"), bad),
        ("H23", line("GET /<> HTTP/1.1"), bad),
        ("T11", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), bad),
        ("T5", "\x16\x03\x01 no newline".into(), bad),
        ("T5", "nonsense\r\n\r\n".into(), bad),
    ];
    for length in [
        "3, 3",
        "+3",
        "-3",
        "0x3",
        "3.0",
        "1 3",
        "",
        "0003",
        "99999999999999999999",
        "\"3\"",
    ] {
        rows.push(("H2", post(&format!("Content-Length: {length}")), bad));
    }
    for coding in [
        "xchunked",
        "identity",
        "gzip",
        "\"chunked\"",
        "chunked;q=1",
        "\x0bchunked",
        "",
        "gzip, chunked",
        ",chunked",
        "chunked, chunked",
        "chunked,",
        "chunked\r\nTransfer-Encoding: chunked",
    ] {
        rows.push(("H5", post(&format!("Transfer-Encoding: {coding}")), bad));
    }
    for version in [
        "HTTP/1.2",
        "HTTP/2.0",
        "http/1.1",
        "HTTP/1.1x",
        "HTTP/0.9",
        "HTTP/11",
    ] {
        rows.push(("H19", line(&format!("GET / {version}")), bad));
    }
    let count = rows.len();
    for (number, (row, bytes, (status, reason))) in rows.into_iter().enumerate() {
        let start = bytes.chars().take(60).collect::<String>();
        let mut stream = client.connect().await.unwrap();
        // It may be refused before all of it was taken.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let _ = stream.flush().await;
        let answer = read_answer(&mut stream)
            .await
            .unwrap_or_else(|error| panic!("{row} {start:?}: {error}"));
        assert_eq!(answer.status, status, "{row} {start:?}: {}", answer.text());
        // Nothing that follows may be taken for a request, and the end is an orderly one.
        let rest = stream.read_to_end(&mut Vec::new()).await;
        assert_eq!(rest.unwrap(), 0, "{row} {start:?}");
        let record = nth(&sidecar, number).await;
        assert_eq!(
            (&record["status"], &record["reason"], &record["closed_by"]),
            (&status.into(), &reason.into(), &"client".into()),
            "{row} {start:?}"
        );
    }
    assert_eq!(app.heads(), Vec::<String>::new());
    assert_eq!(client.get("/fine").await.status, 200);
    // One record each, and one of the last.
    nth(&sidecar, count).await;
    assert_eq!(sidecar.exchange("/fine").await["reason"], "");
}

#[tokio::test]
async fn a_body_that_can_be_read_two_ways_is_the_clients_fault_and_never_ended() {
    let (app, mut ended) = App::listening().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(70_000));
    let trailers = format!("3\r\nabc\r\n0\r\n{}\r\n", "A: b\r\n".repeat(40_000));
    let many = format!("3\r\nabc\r\n0\r\n{}\r\n", "A: b\r\n".repeat(101));
    let rows = [
        ("H8", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("H8", "+3\r\nabc\r\n0\r\n\r\n"),
        ("H8", "-3\r\nabc\r\n0\r\n\r\n"),
        ("H8", "0_3\r\nabc\r\n0\r\n\r\n"),
        ("H8", " 3\r\nabc\r\n0\r\n\r\n"),
        ("H8", "\r\nabc\r\n0\r\n\r\n"),
        ("H8", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("H9", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        ("H9", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("H9", "3\r\nabcX\r\n0\r\n\r\n"),
        ("H9", "3\nabc\n0\n\n"),
        ("H10", &*long),
        ("H10", &*trailers),
        (
            "H12",
            "3\r\nabc\r\n0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("H10", &*many),
        ("H12", "3\r\nabc\r\n0\r\nX : y\r\n\r\n"),
    ];
    for (number, (row, body)) in rows.into_iter().enumerate() {
        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        let head =
            format!("POST /{number} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        eventually("the head is there", async || {
            (app.heads().len() > number).then_some(())
        })
        .await;
        let _ = stream.write_all(body.as_bytes()).await;
        let _ = stream.flush().await;
        let answer = read_answer(&mut stream)
            .await
            .unwrap_or_else(|error| panic!("{row} {number}: {error}"));
        assert_eq!(answer.status, 400, "{row} {number}");
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        let rest = ended.recv().await.unwrap();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{row} {number}: {rest:?}");
        assert!(!rest.windows(8).any(|part| part == b"smuggled"), "{rest:?}");
        let record = sidecar.exchange(&format!("/{number}")).await;
        assert_eq!(
            (&record["status"], &record["reason"], &record["closed_by"]),
            (&400.into(), &"bad_framing".into(), &"client".into()),
            "{row} {number}"
        );
    }
}

/// What a head says without what we add and what routes it.
fn own_lines(head: &str) -> Vec<&str> {
    let ours = [
        "x-forwarded-",
        "forwarded:",
        "x-real-ip:",
        "x-request-id:",
        "host:",
    ];
    let lines = head.lines().filter(|line| !line.is_empty());
    lines
        .filter(|line| {
            let line = line.to_ascii_lowercase();
            !ours.iter().any(|name| line.starts_with(name))
        })
        .collect()
}

#[tokio::test]
async fn what_is_forwarded_is_one_whole_request_as_it_was_meant() {
    let app = hello("ok").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let client = Client::h1(&sidecar);
    let rows: [(&str, &str, &[&str], &str); 13] = [
        (
            "H17",
            "GET http://b/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
            &["GET /x?y HTTP/1.1"],
            "b",
        ),
        (
            "H18",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            &["OPTIONS * HTTP/1.1"],
            "a",
        ),
        (
            "H21",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            &["GET / HTTP/1.1"],
            "a",
        ),
        (
            "H24",
            "GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n",
            &["GET /a/../b HTTP/1.1"],
            "a",
        ),
        (
            "H24",
            "GET /%2f%00%2e%2E// HTTP/1.1\r\nHost: a\r\n\r\n",
            &["GET /%2f%00%2e%2E// HTTP/1.1"],
            "a",
        ),
        (
            "H25",
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: Host, X-Forwarded-For, Content-Length, X-Mine\r\nX-Mine: 1\r\nContent-Length: 3\r\n\r\nabc",
            &["POST / HTTP/1.1", "Content-Length: 3"],
            "a",
        ),
        (
            "H26",
            "GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Client-Cert: me\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\r\n",
            &["GET / HTTP/1.1"],
            "a",
        ),
        (
            "H27",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            &["GET / HTTP/1.1"],
            "a",
        ),
        (
            "H28",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
            &["GET / HTTP/1.1"],
            "a",
        ),
        (
            "H11",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 7\r\nHost: evil\r\nTransfer-Encoding: x\r\n\r\n",
            &["POST / HTTP/1.1", "Transfer-Encoding: chunked"],
            "a",
        ),
        (
            "H10",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
            &["POST / HTTP/1.1", "Transfer-Encoding: chunked"],
            "a",
        ),
        (
            "H29",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
            &["POST / HTTP/1.1", "Content-Length: 0"],
            "a",
        ),
        ("H19", "GET / HTTP/1.0\r\n\r\n", &["GET / HTTP/1.1"], ""),
    ];
    for (number, (row, bytes, wanted, host)) in rows.into_iter().enumerate() {
        let answer = client.send(bytes).await;
        assert_eq!(answer.status, 200, "{row} {bytes:?}: {}", answer.text());
        let heads = app.heads();
        assert_eq!(heads.len(), number + 1, "{row} {bytes:?}");
        let head = &heads[number];
        assert_eq!(own_lines(head), wanted, "{row} {bytes:?}");
        let hosts = head
            .lines()
            .filter(|line| line.to_ascii_lowercase().starts_with("host:"));
        let hosts: Vec<&str> = hosts.map(|line| line[5..].trim()).collect();
        assert_eq!(hosts.len(), 1, "{row}: {head}");
        assert!(host.is_empty() || hosts[0] == host, "{row}: {head}");
        assert!(!head.contains("6.6.6.6"), "{row}: {head}");
        assert!(
            head.to_ascii_lowercase()
                .contains("x-forwarded-for: 127.0.0.1"),
            "{row}: {head}"
        );
    }
    // H30: fifty at once are answered in order.
    let mut stream = client.connect().await.unwrap();
    let all: String = (0..50)
        .map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    stream.write_all(all.as_bytes()).await.unwrap();
    for _ in 0..50 {
        assert_eq!(read_answer(&mut stream).await.unwrap().text(), "ok");
    }
    let heads = app.heads();
    let lines = heads[13..].iter().map(|head| own_lines(head)[0].to_owned());
    assert!(lines.eq((0..50).map(|number| format!("GET /{number} HTTP/1.1"))));
}

type Fields<'a> = Vec<(&'a str, &'a str)>;

/// How a client of HTTP/2 is told that its request is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// RST_STREAM.
    Reset,
    /// GOAWAY, or the end.
    Away,
    Status(u16),
}

#[tokio::test]
async fn what_http2_does_not_allow_never_becomes_a_request_of_http1() {
    const FIRST: [(&str, &str); 4] = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/"),
    ];
    /// The usual fields with these changed; without a value they are left out.
    fn changed<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut fields = FIRST.to_vec();
        for (name, value) in changes {
            match fields.iter_mut().find(|(known, _)| known == name) {
                Some(field) => field.1 = value,
                None => fields.push((name, value)),
            }
        }
        fields.retain(|(_, value)| *value != "-");
        fields
    }
    let app = hello("unreachable").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let rows: Vec<(&str, Fields, Told)> = vec![
        (
            "N11",
            changed(&[("transfer-encoding", "chunked")]),
            Told::Reset,
        ),
        ("N11", changed(&[("connection", "close")]), Told::Reset),
        ("N11", changed(&[("keep-alive", "timeout=5")]), Told::Reset),
        ("N11", changed(&[("upgrade", "h2c")]), Told::Reset),
        (
            "N11",
            changed(&[("proxy-connection", "close")]),
            Told::Reset,
        ),
        ("N11", changed(&[("te", "gzip")]), Told::Reset),
        ("N12", changed(&[("content-length", "+3")]), Told::Reset),
        ("N12", changed(&[("content-length", "3, 3")]), Told::Reset),
        ("N12", changed(&[("content-length", "5")]), Told::Reset),
        ("N12", changed(&[("content-length", "2")]), Told::Reset),
        (
            "N13",
            [
                &FIRST[..],
                &[("content-length", "3"), ("content-length", "3")],
            ]
            .concat(),
            Told::Status(400),
        ),
        ("N14", changed(&[("x", "a\r\nb")]), Told::Away),
        ("N14", changed(&[("x", "a\nb")]), Told::Away),
        ("N14", changed(&[("x", "a\0b")]), Told::Away),
        ("N14", changed(&[("x\r\ny", "a")]), Told::Away),
        ("N14", changed(&[("x:y", "a")]), Told::Away),
        ("N14", changed(&[("x y", "a")]), Told::Away),
        ("N14", changed(&[("Xy", "a")]), Told::Away),
        ("N14", changed(&[("", "a")]), Told::Away),
        ("N14", changed(&[(":method", "G\r\nET")]), Told::Away),
        ("N14", changed(&[(":method", "G ET")]), Told::Away),
        ("N14", changed(&[(":authority", "a\r\nb")]), Told::Reset),
        ("N14", changed(&[(":path", "/\r\nx")]), Told::Reset),
        ("N15", changed(&[(":path", "/a b")]), Told::Reset),
        ("N15", changed(&[(":path", "")]), Told::Reset),
        ("N15", changed(&[(":path", "x")]), Told::Reset),
        ("N15", changed(&[(":path", "http://b/")]), Told::Reset),
        ("N15", changed(&[(":scheme", "a b")]), Told::Reset),
        ("N16", changed(&[(":authority", "-")]), Told::Status(400)),
        (
            "N16",
            [
                &changed(&[(":authority", "-")])[..],
                &[("host", "a"), ("host", "a")],
            ]
            .concat(),
            Told::Status(400),
        ),
        ("N16", changed(&[("host", "b")]), Told::Status(400)),
        (
            "N16",
            changed(&[(":authority", "u@localhost")]),
            Told::Status(400),
        ),
        ("N17", [&[("x", "y")][..], &FIRST].concat(), Told::Reset),
        ("N17", changed(&[(":unknown", "a")]), Told::Away),
        (
            "N17",
            [&FIRST[..], &[(":path", "/b")]].concat(),
            Told::Reset,
        ),
        (
            "N19",
            vec![(":method", "CONNECT"), (":authority", "a:443")],
            Told::Status(405),
        ),
        ("H18", changed(&[(":method", "TRACE")]), Told::Status(405)),
    ];
    for (number, (row, fields, told)) in rows.into_iter().enumerate() {
        let mut raw = Raw::open(&sidecar).await;
        let what = format!("{row} {fields:?}");
        raw.say(&frame(HEADERS, END_HEADERS, 1, &block(&fields)))
            .await;
        raw.say(&frame(DATA, END_STREAM, 1, b"abc")).await;
        let seen = match raw.next().await {
            Some(Frame { kind: RESET, .. }) => Told::Reset,
            Some(Frame { kind: HEADERS, .. }) => {
                Told::Status(sidecar_status(&nth(&sidecar, number).await))
            }
            Some(Frame { kind: GOAWAY, .. }) | None => Told::Away,
            Some(other) => panic!("{what}: {other:?}"),
        };
        assert_eq!(seen, told, "{what}");
        let record = nth(&sidecar, number).await;
        let reasons = match told {
            Told::Away => &["h2_error"][..],
            Told::Reset => &["bad_request", "bad_framing"],
            Told::Status(405) => &["method_refused"],
            Told::Status(_) => &["bad_host", "bad_request"],
        };
        let reason = record["reason"].as_str().unwrap();
        assert!(reasons.contains(&reason), "{what}: {reason}");
        assert_eq!(record["closed_by"], "client", "{what}");
    }
    // Two of them were begun before it could be known, and not ended: they say how long they are, and are not.
    let whole = app.heads().len();
    assert!(whole <= 2, "{:?}", app.heads());
}

#[tokio::test]
async fn what_frames_or_routes_a_message_gets_no_further_when_it_comes_as_a_trailer() {
    let (says, mut said) = tokio::sync::mpsc::unbounded_channel();
    let app = App::scripted(move |mut talk| {
        let says = says.clone();
        async move {
            talk.head().await?;
            let rest = read_until(&mut talk.stream, b"\r\n\r\n").await?;
            let _ = says.send(String::from_utf8_lossy(&rest).into_owned());
            talk.answer("200 OK", b"").await
        }
    })
    .await;
    let sidecar = Sidecar::start(&app, &[]).await;
    // N17, N18: the `h2` crate drops pseudo-fields there, instead of refusing them.
    for name in [":path", ":authority", "content-length", "host"] {
        let mut raw = Raw::open(&sidecar).await;
        let head = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/"),
            ("trailer", "x-mine"),
        ];
        raw.say(&frame(HEADERS, END_HEADERS, 1, &block(&head)))
            .await;
        raw.say(&frame(DATA, 0, 1, b"abc")).await;
        let trailers = block(&[(name, "3"), ("x-mine", "1")]);
        let flags = END_HEADERS | END_STREAM;
        raw.say(&frame(HEADERS, flags, 1, &trailers)).await;
        assert_eq!(
            said.recv().await.unwrap().to_ascii_lowercase(),
            "3\r\nabc\r\n0\r\nx-mine: 1\r\n\r\n",
            "{name}"
        );
    }
}

fn sidecar_status(record: &Value) -> u16 {
    let status = record["status"].as_u64();
    u16::try_from(status.unwrap_or_else(|| panic!("{record}"))).unwrap()
}

/// How an application ends after what it says.
#[derive(Clone, Copy, Debug)]
enum Then {
    Closes,
    Resets,
    Stays,
}

/// What a client of HTTP/1 and one of HTTP/2 get of an application's answer.
#[derive(Clone, Copy, Debug)]
enum Gets {
    /// This and no sign of anything wrong.
    Whole(u16, &'static str),
    /// The beginning, and no end that could be taken for one.
    Cut(u16),
    /// An answer of our own.
    Refused(u16),
}

/// The first connection gets what is wrong, all others a good answer.
async fn wrong_once(says: Vec<u8>, then: Then) -> App {
    let connections = std::sync::atomic::AtomicUsize::new(0);
    App::scripted(move |mut talk| {
        let is_first = connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        let says = says.clone();
        async move {
            let Some(head) = talk.head().await? else {
                return Ok(());
            };
            talk.body(&head).await?;
            if !is_first {
                return talk.answer("200 OK", b"good").await;
            }
            talk.say(&says).await?;
            match then {
                Then::Closes => {}
                Then::Resets => {
                    socket2::SockRef::from(&talk.stream)
                        .set_linger(Some(std::time::Duration::ZERO))?;
                }
                Then::Stays => {
                    // Until the sidecar has had enough of it. A second request would be read here.
                    assert!(talk.head().await?.is_none(), "it is used again");
                }
            }
            Ok(())
        }
    })
    .await
}

#[tokio::test]
async fn what_an_application_gets_wrong_stays_with_the_exchange_it_happened_in() {
    use Gets::{Cut, Refused, Whole};
    use Then::{Closes, Resets, Stays};
    let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}").into_bytes();
    let endless = ok(&"X-A: b\r\n".repeat(50_000));
    let early = [
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            .repeat(2000)
            .into_bytes(),
        ok("Content-Length: 2\r\n\r\nhi"),
    ]
    .concat();
    let malformed = "upstream_malformed";
    let closed = "upstream_closed";
    let truncated = "upstream_truncated";
    let rows: Vec<(&str, Vec<u8>, Then, Gets, &str)> = vec![
        ("nothing, FIN", vec![], Closes, Refused(502), closed),
        ("nothing, RST", vec![], Resets, Refused(502), closed),
        (
            "half a status line",
            b"HTTP/1.1 2".to_vec(),
            Closes,
            Refused(502),
            closed,
        ),
        (
            "half a head",
            b"HTTP/1.1 200 OK\r\nX: ".to_vec(),
            Closes,
            Refused(502),
            closed,
        ),
        (
            "junk",
            b"junk\r\n\r\n".to_vec(),
            Stays,
            Refused(502),
            malformed,
        ),
        (
            "TLS",
            b"\x15\x03\x03\x00\x02\x02\x28".to_vec(),
            Stays,
            Refused(502),
            malformed,
        ),
        (
            "no status",
            b"HTTP/1.1 OK\r\n\r\n".to_vec(),
            Stays,
            Refused(502),
            malformed,
        ),
        (
            "status 000",
            b"HTTP/1.1 000 No\r\n\r\n".to_vec(),
            Stays,
            Refused(502),
            malformed,
        ),
        (
            "HTTP/0.9",
            b"<p>hi".to_vec(),
            Closes,
            Refused(502),
            malformed,
        ),
        (
            "NUL in a value",
            ok("X: a\0b\r\nContent-Length: 0\r\n\r\n"),
            Stays,
            Refused(502),
            malformed,
        ),
        (
            "two lengths",
            ok("Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!"),
            Stays,
            Refused(502),
            malformed,
        ),
        (
            "two equal lengths",
            ok("Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi"),
            Stays,
            Refused(502),
            malformed,
        ),
        (
            "length and coding",
            ok("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
            Stays,
            Refused(502),
            malformed,
        ),
        (
            "another coding",
            ok("Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
            Stays,
            Refused(502),
            malformed,
        ),
        ("endless head", endless, Stays, Refused(502), malformed),
        (
            "an upgrade nobody asked for",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
                .to_vec(),
            Stays,
            Refused(502),
            malformed,
        ),
        (
            "head, then FIN",
            ok("Content-Length: 9\r\n\r\n"),
            Closes,
            Cut(200),
            truncated,
        ),
        (
            "head, then RST",
            ok("Content-Length: 9\r\n\r\n"),
            Resets,
            Cut(200),
            truncated,
        ),
        (
            "half a body, FIN",
            ok("Content-Length: 9\r\n\r\nhalf"),
            Closes,
            Cut(200),
            truncated,
        ),
        (
            "half a body, RST",
            ok("Content-Length: 9\r\n\r\nhalf"),
            Resets,
            Cut(200),
            truncated,
        ),
        (
            "half the chunks",
            ok("Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"),
            Closes,
            Cut(200),
            truncated,
        ),
        (
            "a bad chunk",
            ok("Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n"),
            Stays,
            Cut(200),
            truncated,
        ),
        (
            "to the end, RST",
            ok("\r\nhalf"),
            Resets,
            Cut(200),
            truncated,
        ),
        (
            "to the end, FIN",
            ok("\r\nall"),
            Closes,
            Whole(200, "all"),
            "",
        ),
        (
            "too much",
            ok("Content-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
            Stays,
            Whole(200, "hi"),
            "",
        ),
        (
            "204 with a body",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil".to_vec(),
            Stays,
            Whole(204, ""),
            "",
        ),
        (
            "304 with a body",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil".to_vec(),
            Stays,
            Whole(304, ""),
            "",
        ),
        ("2000 early hints", early, Stays, Whole(200, "hi"), ""),
        (
            "a bare LF",
            b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 2\r\n\r\nhi".to_vec(),
            Stays,
            Whole(200, "hi"),
            "",
        ),
        (
            "status 999",
            b"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nhi".to_vec(),
            Stays,
            Whole(999, "hi"),
            "",
        ),
    ];
    for (what, says, then, gets, reason) in rows {
        for is_h2 in [false, true] {
            let app = wrong_once(says.clone(), then).await;
            let sidecar = Sidecar::start(&app, &["--workers", "1"]).await;
            // A POST is not asked again, whatever happens to its connection.
            let seen = if is_h2 {
                let h2 = Client::new(&sidecar, &["h2"]).h2().await;
                let seen = over_h2(&h2).await;
                let (_, _, body) = h2.exchange(h2_get("/next"), None).await.unwrap();
                assert_eq!(body, b"good", "{what}, h2: the next exchange");
                seen
            } else {
                let seen = over_h1(&sidecar).await;
                let next = Client::h1(&sidecar).get("/next").await;
                assert_eq!(next.text(), "good", "{what}, h1: the next exchange");
                seen
            };
            match (gets, seen) {
                (Whole(status, text), (seen, Some(body))) => {
                    assert_eq!((seen, &*body), (status, text), "{what}, h2: {is_h2}");
                }
                (Refused(status), (seen, Some(body))) => {
                    assert_eq!(seen, status, "{what}, h2: {is_h2}: {body}");
                    assert!(body.contains(reason), "{what}, h2: {is_h2}: {body}");
                }
                (Cut(status), (seen, None)) => {
                    assert!(seen == status || seen == 0, "{what}, h2: {is_h2}: {seen}");
                }
                (_, seen) => panic!("{what}, h2: {is_h2}: {gets:?}, but {seen:?}"),
            }
            let record = sidecar.exchange("/wrong").await;
            let side = if reason.is_empty() {
                Value::Null
            } else {
                "upstream".into()
            };
            assert_eq!(
                (&record["reason"], &record["closed_by"]),
                (&reason.into(), &side),
                "{what}, h2: {is_h2}"
            );
        }
    }
}

/// The status, and the body if it has an end.
async fn over_h1(sidecar: &Sidecar) -> (u16, Option<String>) {
    let mut stream = Client::h1(sidecar).connect().await.unwrap();
    stream
        .write_all(b"POST /wrong HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        .await
        .unwrap();
    let Ok(mut start) = read_until(&mut stream, b" ").await else {
        // It is over before the head has left.
        return (0, None);
    };
    let mut status = [0; 4];
    stream.read_exact(&mut status).await.unwrap();
    start.extend_from_slice(&status);
    let status = std::str::from_utf8(&status)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let mut whole = tokio::io::join(std::io::Cursor::new(start).chain(stream), tokio::io::sink());
    let answer = read_answer(&mut whole).await;
    (status, answer.ok().map(|answer| answer.text()))
}

async fn over_h2(h2: &H2) -> (u16, Option<String>) {
    let post = http::Request::post("https://localhost/wrong")
        .header("content-length", "2")
        .body(())
        .unwrap();
    let (response, mut stream) = h2.begin(post, false).await;
    stream.send_data("hi".into(), true).unwrap();
    let Ok(response) = response.await else {
        // It is over before the head has left.
        return (0, None);
    };
    let status = response.status().as_u16();
    let mut stream = response.into_body();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let Ok(data) = data else {
            return (status, None);
        };
        body.extend_from_slice(&data);
    }
    (status, Some(String::from_utf8(body).unwrap()))
}
