use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    App, Client, Collector, Mode, Seen, Sidecar, eventually, h2_get, hello, send,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// The span of the exchange with this path, and those of the times that the application was asked, in order.
async fn spans(collector: &Collector, path: &str) -> (Seen, Vec<Seen>) {
    let found = collector.until(path, |all| {
        let server = all.iter().find(|span| {
            span.kind == "SERVER" && span.tags.get("url.path").is_some_and(|tag| tag == path)
        })?;
        let clients = all
            .iter()
            .filter(|span| span.parent.as_ref() == Some(&server.id));
        Some((server.clone(), clients.cloned().collect()))
    });
    found.await
}

/// The same, where the application was asked once.
async fn pair(collector: &Collector, path: &str) -> (Seen, Seen) {
    let (server, mut clients) = spans(collector, path).await;
    assert_eq!(clients.len(), 1, "{clients:#?}");
    (server, clients.remove(0))
}

/// What the application has seen of a request, which an echo tells.
async fn ask(client: &Client, path: &str, fields: &str) -> Vec<(String, String)> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: shop.example:8443\r\n{fields}Connection: close\r\n\r\n"
    );
    let answer = client.send(request).await;
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let fields = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    fields
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect()
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = fields.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| &**value);
    assert!(found.next().is_none(), "{name} is there twice");
    value
}

fn tags<'a>(span: &'a Seen, names: &[&str]) -> Vec<&'a str> {
    let tag = |name: &&str| span.tags.get(*name).map_or("-", String::as_str);
    names.iter().map(tag).collect()
}

#[tokio::test]
async fn an_exchange_has_a_span_and_another_one_for_the_way_to_the_application() {
    let app = App::echo().await;
    for collector in [Collector::otlp().await, Collector::zipkin().await] {
        let sidecar = Sidecar::traced(&app, &collector, &[]).await;
        let seen = ask(
            &Client::h1(&sidecar),
            "/h1?secret=1",
            "User-Agent: test/1\r\n",
        )
        .await;
        let (server, client) = pair(&collector, "/h1").await;
        assert_eq!((server.parent.as_ref(), &*server.name), (None, "GET"));
        assert_eq!((&*client.kind, &*client.name), ("CLIENT", "GET"));
        assert_eq!(server.trace, client.trace);
        let told = format!("00-{}-{}-01", client.trace, client.id);
        assert_eq!(field(&seen, "traceparent"), Some(&*told));
        assert_eq!(field(&seen, "tracestate"), None);
        assert_eq!(&*server.service, "under-test");
        let names = [
            "http.request.method",
            "url.scheme",
            "url.query",
            "http.response.status_code",
            "network.protocol.version",
            "server.address",
            "server.port",
            "client.address",
            "user_agent.original",
            "tls.protocol.version",
            "error.type",
        ];
        let wanted = [
            "GET",
            "https",
            "-",
            "200",
            "1.1",
            "shop.example",
            "8443",
            "127.0.0.1",
            "test/1",
            "1.3",
            "-",
        ];
        assert_eq!(tags(&server, &names), wanted);
        let port = app.address.port().to_string();
        let names = [
            "http.request.method",
            "url.full",
            "server.address",
            "server.port",
            "http.response.status_code",
            "http.request.resend_count",
        ];
        let full = format!("http://127.0.0.1:{port}/h1");
        let wanted = ["GET", &*full, "127.0.0.1", &*port, "200", "-"];
        assert_eq!(tags(&client, &names), wanted);
        assert!(server.started <= client.started);
        assert!(client.started + client.took <= server.started + server.took + 1000);
        let record = sidecar.exchange("/h1").await;
        assert_eq!(record["trace_id"], *server.trace);
        assert_eq!(
            tags(&server, &["portcullis.request_id"]),
            [record["request_id"].as_str().unwrap()]
        );

        let h2 = Client::new(&sidecar, &["h2"]).h2().await;
        let (status, _, _) = h2.exchange(h2_get("/h2"), None).await.unwrap();
        assert_eq!(status, 200);
        let (server, client) = pair(&collector, "/h2").await;
        assert_eq!(
            tags(&server, &["network.protocol.version", "server.address"]),
            ["2", "localhost"]
        );
        assert_eq!(client.trace, server.trace);
    }
}

#[tokio::test]
async fn a_trace_that_comes_is_continued_and_its_state_is_passed_on() {
    let (app, collector) = (App::echo().await, Collector::otlp().await);
    let sidecar = Sidecar::traced(&app, &collector, &[]).await;
    let client = Client::h1(&sidecar);
    let fields =
        format!("traceparent: 00-{TRACE}-{PARENT}-03\r\ntracestate: a=1\r\ntracestate: b=2\r\n");
    let request = format!("GET /on HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
    let seen = client.send(request).await.text();
    let (server, client_span) = pair(&collector, "/on").await;
    assert_eq!(
        (&*server.trace, server.parent.as_deref()),
        (TRACE, Some(PARENT))
    );
    assert_eq!(&*server.state, "a=1,b=2");
    // The flag of a random id stays.
    let told = format!("traceparent: 00-{TRACE}-{}-03", client_span.id);
    let lower = seen.to_lowercase();
    assert!(lower.contains(&told), "{seen}");
    assert!(
        lower.contains("tracestate: a=1") && lower.contains("tracestate: b=2"),
        "{seen}"
    );
    assert_eq!(sidecar.exchange("/on").await["trace_id"], TRACE);

    // A state without a parent is nobody's.
    let seen = ask(
        &client,
        "/alone",
        "traceparent: 00-0-0-0\r\ntracestate: a=1\r\n",
    )
    .await;
    let (server, client_span) = pair(&collector, "/alone").await;
    assert_eq!((server.parent, &*server.state), (None, ""));
    let told = format!("00-{}-{}-01", client_span.trace, client_span.id);
    assert_eq!(field(&seen, "traceparent"), Some(&*told));
    assert_eq!(field(&seen, "tracestate"), None);
}

#[tokio::test]
async fn whether_a_trace_is_kept_is_decided_by_trusted_proxies_and_else_by_the_share() {
    let app = App::echo().await;
    let keep = format!("traceparent: 00-{TRACE}-{PARENT}-01\r\n");
    let drop = format!("traceparent: 00-{TRACE}-{PARENT}-00\r\n");
    let trusting = ["--trusted-proxy", "127.0.0.1"];
    for (share, is_trusted, fields, wanted) in [
        ("0", false, &*keep, "00"),
        ("1", false, &*drop, "01"),
        ("0", true, &keep, "01"),
        ("1", true, &drop, "00"),
        ("0", true, "", "00"),
        ("1", true, "", "01"),
    ] {
        let collector = Collector::otlp().await;
        let mut flags = vec!["--trace-sample", share];
        flags.extend(trusting.iter().filter(|_| is_trusted));
        let sidecar = Sidecar::traced(&app, &collector, &flags).await;
        let seen = ask(&Client::h1(&sidecar), "/asked", fields).await;
        let told = field(&seen, "traceparent").unwrap();
        assert_eq!(&told[53..], wanted, "{share} {is_trusted} {fields}");
        // At the end everything has been sent.
        sidecar.signal(Signal::TERM);
        let ended = sidecar.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(collector.spans().len(), if wanted == "01" { 2 } else { 0 });
    }
}

#[tokio::test]
async fn b3_goes_on_as_b3_and_a_short_id_stays_short() {
    let (app, collector) = (App::echo().await, Collector::zipkin().await);
    let flags = ["--trusted-proxy", "127.0.0.1", "--trace-propagation", "b3"];
    let sidecar = Sidecar::traced(&app, &collector, &flags).await;
    let client = Client::h1(&sidecar);
    let short = &TRACE[16..];
    let fields = format!("X-B3-TraceId: {short}\r\nX-B3-SpanId: {PARENT}\r\nX-B3-Sampled: 1\r\n");
    let seen = ask(&client, "/several", &fields).await;
    let (server, sent) = pair(&collector, "/several").await;
    assert_eq!(
        (&*server.trace, server.parent.as_deref()),
        (short, Some(PARENT))
    );
    for (name, wanted) in [
        ("x-b3-traceid", short),
        ("x-b3-spanid", &sent.id),
        ("x-b3-parentspanid", &server.id),
        ("x-b3-sampled", "1"),
        ("b3", &format!("{short}-{}-1-{}", sent.id, server.id)),
    ] {
        assert_eq!(field(&seen, name), Some(wanted), "{name}");
    }
    assert_eq!(field(&seen, "traceparent"), None);

    let seen = ask(&client, "/debug", &format!("b3: {TRACE}-{PARENT}-d\r\n")).await;
    let (server, sent) = pair(&collector, "/debug").await;
    assert_eq!(
        (&*server.trace, server.parent.as_deref()),
        (TRACE, Some(PARENT))
    );
    let told = format!("{TRACE}-{}-d-{}", sent.id, server.id);
    assert_eq!(field(&seen, "b3"), Some(&*told));
    assert_eq!(field(&seen, "x-b3-traceid"), None);

    let seen = ask(&client, "/no", "b3: 0\r\nX_B3_TraceId: 0\r\n").await;
    let told = field(&seen, "b3").unwrap();
    assert_eq!(told.split('-').nth(2), Some("0"));
    assert_eq!(field(&seen, "x_b3_traceid"), None);
}

#[tokio::test]
async fn what_comes_is_passed_on_untouched_while_traces_are_not_exported() {
    let app = App::echo().await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let client = Client::h1(&sidecar);
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let fields = format!("traceparent: {parent}\r\ntracestate: a=1\r\nb3: anything\r\n");
    let seen = ask(&client, "/", &fields).await;
    for (name, wanted) in [
        ("traceparent", &*parent),
        ("tracestate", "a=1"),
        ("b3", "anything"),
    ] {
        assert_eq!(field(&seen, name), Some(wanted));
    }
    let seen = ask(&client, "/", "").await;
    assert_eq!(field(&seen, "traceparent"), None);
    let metrics = sidecar.probe("/metrics").await.text();
    assert!(!metrics.contains("portcullis_trace_"), "{metrics}");
}

#[tokio::test]
async fn each_time_that_the_application_is_asked_is_a_span_of_its_own() {
    // Keeps connections, and drops those on which it is asked for what is stale a second time.
    let app = App::scripted(|mut talk| async move {
        let mut is_used = false;
        while let Some(head) = talk.head().await? {
            if is_used && head.contains(" /stale") {
                break;
            }
            talk.answer("200 OK", head.as_bytes()).await?;
            is_used = true;
        }
        Ok(())
    })
    .await;
    let collector = Collector::otlp().await;
    let sidecar = Sidecar::traced(&app, &collector, &["--workers", "1"]).await;
    let client = Client::h1(&sidecar);
    ask(&client, "/first", "").await;
    let seen = ask(&client, "/stale", "").await;
    let (server, mut clients) = spans(&collector, "/stale").await;
    clients.sort_by_key(|span| span.started);
    let [lost, last] = &clients[..] else {
        panic!("{clients:#?}")
    };
    let names = [
        "error.type",
        "http.request.resend_count",
        "http.response.status_code",
    ];
    assert_eq!(tags(lost, &names), ["upstream_stale", "-", "-"]);
    assert_eq!(lost.error.as_deref(), Some("upstream_stale"));
    assert_eq!(tags(last, &names), ["-", "1", "200"]);
    assert_eq!((&last.error, &server.error), (&None, &None));
    let told = format!("00-{}-{}-01", server.trace, last.id);
    assert_eq!(field(&seen, "traceparent"), Some(&*told));
    let heads = app.heads();
    assert!(heads[1].contains(&lost.id), "{heads:?}");
}

#[tokio::test]
async fn what_goes_wrong_is_an_error_of_whoever_has_failed() {
    let app = App::scripted(|mut talk| async move {
        while let Some(head) = talk.head().await? {
            if head.contains(" /broken") {
                talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                    .await?;
                break;
            }
            let status = match head.split(' ').nth(1) {
                Some("/500") => "500 Internal Server Error",
                Some("/404") => "404 Not Found",
                _ => "200 OK",
            };
            talk.answer(status, b"x").await?;
        }
        Ok(())
    })
    .await;
    let collector = Collector::otlp().await;
    let flags = ["--redirect", "127.0.0.1:0"];
    let sidecar = Sidecar::traced(&app, &collector, &flags).await;
    let client = Client::h1(&sidecar);
    let names = [
        "http.response.status_code",
        "error.type",
        "portcullis.reason",
    ];
    for (path, of_server, of_client) in [
        ("/500", ["500", "500", "-"], ["500", "500", "-"]),
        // For the sidecar a client that asks for what there is not is all right.
        ("/404", ["404", "-", "-"], ["404", "404", "-"]),
    ] {
        client.get(path).await;
        let (server, sent) = pair(&collector, path).await;
        assert_eq!(tags(&server, &names), of_server);
        assert_eq!(tags(&sent, &names), of_client);
        assert_eq!(server.error.is_some(), of_server[1] != "-");
        assert!(sent.error.is_some());
    }
    let mut stream = client.connect().await.unwrap();
    let request = "GET /broken HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    let (server, sent) = pair(&collector, "/broken").await;
    for span in [server, sent] {
        assert_eq!(
            tags(&span, &names),
            ["200", "upstream_truncated", "upstream_truncated"]
        );
        assert_eq!(span.error.as_deref(), Some("upstream_truncated"));
    }

    // Redirects never get to the application.
    let redirect = sidecar.redirect.unwrap();
    send(
        redirect,
        "GET /over HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    let (server, clients) = spans(&collector, "/over").await;
    assert_eq!(clients, []);
    assert_eq!(
        tags(&server, &["http.response.status_code", "url.scheme"]),
        ["308", "http"]
    );
    assert_eq!(server.error, None);
}

#[tokio::test]
async fn an_application_that_is_not_there_is_an_error_of_the_way_to_it() {
    let (_, nobody) = Collector::dead();
    let target = nobody.local_addr().unwrap();
    let collector = Collector::otlp().await;
    let sidecar = Sidecar::traced(target, &collector, &["--connect-retry-for", "0"]).await;
    assert_eq!(Client::h1(&sidecar).get("/away").await.status, 503);
    let (server, sent) = pair(&collector, "/away").await;
    let names = ["http.response.status_code", "error.type"];
    assert_eq!(tags(&server, &names), ["503", "upstream_refused"]);
    assert_eq!(tags(&sent, &names), ["-", "upstream_refused"]);
}

#[tokio::test]
async fn what_records_do_not_show_spans_do_not_show() {
    let (app, collector) = (hello("hi").await, Collector::otlp().await);
    let flags = [
        "--redact",
        "token-[0-9]+",
        "--redact",
        "^/reset/[^/]+",
        "--redact",
        "^key=[^&]+",
    ];
    let sidecar = Sidecar::traced(&app, &collector, &flags).await;
    Client::h1(&sidecar)
        .get("/users/token-123/x?key=topsecret")
        .await;
    let (server, sent) = pair(&collector, "/users/[redacted]/x").await;
    for span in [&server, &sent] {
        let all = format!("{span:?}");
        assert!(
            !all.contains("topsecret") && !all.contains("token-123"),
            "{all}"
        );
    }
    assert!(sent.tags["url.full"].ends_with("/users/[redacted]/x"));

    // A pattern that says where a path begins holds for the whole URL, too.
    Client::h1(&sidecar).get("/reset/topsecret").await;
    let (_, sent) = pair(&collector, "[redacted]").await;
    assert!(!sent.tags["url.full"].contains("topsecret"), "{sent:?}");

    // Neither as the name of a call, nor in what the client says of the trace.
    let fields = format!(
        "traceparent: 00-{TRACE}-{PARENT}-01\r\ntracestate: a=token-123\r\nContent-Type: application/grpc\r\n"
    );
    let request = format!(
        "POST /token-123/x HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    Client::h1(&sidecar).send(request).await;
    let (server, sent) = pair(&collector, "/[redacted]/x").await;
    for span in [&server, &sent] {
        assert_eq!(span.name, "POST");
        let all = format!("{span:?}");
        assert!(!all.contains("token-123"), "{all}");
    }

    let flags = ["--log-query", "--redact", "^key=[^&]+"];
    let sidecar = Sidecar::traced(&app, &collector, &flags).await;
    Client::h1(&sidecar).get("/asked?key=value&page=2").await;
    let (server, sent) = pair(&collector, "/asked").await;
    assert_eq!(tags(&server, &["url.query"]), ["[redacted]&page=2"]);
    assert!(sent.tags["url.full"].ends_with("/asked?[redacted]&page=2"));
}

#[tokio::test]
async fn what_becomes_of_spans_is_counted() {
    let (app, collector) = (hello("hi").await, Collector::otlp().await);
    let sidecar = Sidecar::traced(&app, &collector, &[]).await;
    let counted = |result: &str| format!("portcullis_trace_spans_total{{result=\"{result}\"}}");
    let client = Client::h1(&sidecar);
    for _ in 0..3 {
        client.get("/").await;
    }
    eventually("all are exported", async || {
        (sidecar.metric(&counted("exported")).await == 6).then_some(())
    })
    .await;
    assert_eq!(collector.spans().len(), 6);
    collector.becomes(Mode::Status("400 Bad Request"));
    client.get("/").await;
    eventually("these are rejected", async || {
        (sidecar.metric(&counted("rejected")).await == 2).then_some(())
    })
    .await;
    eventually("the log says why", async || {
        sidecar.log().contains("400").then_some(())
    })
    .await;
    let status = sidecar.admin("/status").await.json();
    let traces = &status["traces"];
    assert_eq!(traces["endpoint"], format!("{}/v1/traces", collector.url()));
    assert_eq!(
        (&traces["exporter"], &traces["sample"]),
        (&"otlp".into(), &1.0.into())
    );
    assert_eq!(
        (&traces["spans"]["exported"], &traces["spans"]["rejected"]),
        (&6.into(), &2.into())
    );
    assert!(traces["failing_since"].is_string(), "{traces}");
    // Clients are served all the same.
    let degraded = status["degraded"][0].as_str().unwrap();
    assert!(degraded.contains("takes no spans"), "{degraded}");
    assert_eq!(status["ready"], true);
}

#[tokio::test]
async fn an_exchange_begins_with_the_first_byte_of_its_head() {
    let (app, collector) = (hello("hi").await, Collector::otlp().await);
    let sidecar = Sidecar::traced(&app, &collector, &[]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let whole = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    stream
        .write_all(b"Host: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    let (server, sent) = pair(&collector, "/slow").await;
    assert!(u128::from(server.started) + 250_000_000 < whole.as_nanos());
    // What is asked of the application is asked after that, and ends with it.
    assert!(u128::from(sent.started) >= whole.as_nanos());
    assert!(sent.started + sent.took <= server.started + server.took + 1000);
}

#[tokio::test]
async fn a_call_that_an_application_does_not_speak_is_no_name() {
    let (app, collector) = (hello("hi").await, Collector::otlp().await);
    let sidecar = Sidecar::traced(&app, &collector, &[]).await;
    let head = "POST /any.Service/Method HTTP/1.1\r\nHost: [::1]:8443\r\nContent-Type: application/grpc\r\n";
    let request = format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
    Client::h1(&sidecar).send(request).await;
    let (server, sent) = pair(&collector, "/any.Service/Method").await;
    assert_eq!((&*server.name, &*sent.name), ("POST", "POST"));
    let names = ["rpc.method", "server.address", "server.port"];
    assert_eq!(tags(&server, &names), ["any.Service/Method", "::1", "8443"]);
}
