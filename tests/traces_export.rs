use std::collections::HashSet;
use std::fs;

use rustix::process::Signal;

use crate::support::{Ca, Client, Collector, Mode, Sidecar, eventually, hello, portcullis};

/// What `check` says to these flags, on stdout and stderr, and how it ends.
fn check(flags: &str, env: &[(&str, &str)]) -> (String, String, Option<i32>) {
    let mut command = portcullis();
    command.arg("check").args(flags.split_whitespace());
    let output = command.envs(env.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
}

#[test]
fn what_is_wrong_about_traces_is_found_before_anybody_relies_on_them() {
    for (flags, parts) in [
        (
            "--trace-exporter jaeger --trace-sample 2 --trace-propagation b4",
            &[
                "\"jaeger\" is not known; use off, otlp or zipkin",
                "\"2\" is not a share",
                "\"b4\" is not known; use w3c, b3 or b3multi",
            ][..],
        ),
        (
            "--trace-exporter otlp --trace-propagation b4,w3c",
            &["\"b4,w3c\" is not known; use w3c, b3 or b3multi"],
        ),
        (
            "--trace-endpoint http://jaeger:4318 --trace-header-file /x",
            &[
                "--trace-endpoint without --trace-exporter: no traces are made; add --trace-exporter otlp",
                "--trace-header-file without",
            ],
        ),
        (
            "--trace-exporter otlp --trace-endpoint grpc://jaeger:4317",
            &[
                "--trace-endpoint (flag --trace-endpoint): \"grpc://jaeger:4317\": OTLP is spoken over HTTP",
            ],
        ),
        (
            "--trace-exporter zipkin --trace-endpoint http://u:s3cret@zipkin:9411",
            &["credentials belong into a --trace-header-file"],
        ),
        (
            "--trace-exporter otlp --trace-ca /ca.crt",
            &[
                "--trace-ca with http://127.0.0.1:4318/v1/traces: nothing is verified over plain HTTP",
            ],
        ),
        (
            "--trace-exporter otlp --trace-endpoint http://localhost:9902",
            &["--trace-endpoint http://localhost:9902/v1/traces: --probe listens there"],
        ),
        (
            "--trace-exporter otlp --trace-endpoint https://tempo.example",
            &["there are no CAs here to verify it with (/nowhere)"],
        ),
    ] {
        let (_, stderr, code) = check(flags, &[("SSL_CERT_FILE", "/nowhere")]);
        assert_eq!(code, Some(2), "{flags}");
        assert!(!stderr.contains("s3cret"), "{stderr}");
        for part in parts {
            assert!(stderr.contains(part), "{flags}: {part} is not in {stderr}");
        }
    }
}

#[test]
fn check_tells_where_spans_would_go() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "Authorization: Bearer s3cret\n").unwrap();
    let file = file.path().to_str().unwrap();
    let env = [
        ("PORTCULLIS_TRACE_EXPORTER", "zipkin"),
        ("PORTCULLIS_TRACE_PROPAGATION", "b3, w3c"),
        ("PORTCULLIS_TRACE_HEADER_FILE", file),
    ];
    let (stdout, _, _) = check("--trace-sample 5%", &env);
    for part in [
        "to http://127.0.0.1:9411/api/v2/spans (zipkin) for 5% of the traces",
        "as b3, w3c",
        "fields     authorization",
        "environment PORTCULLIS_TRACE_EXPORTER",
    ] {
        assert!(stdout.contains(part), "{part} is not in {stdout}");
    }
    assert!(!stdout.contains("s3cret"), "{stdout}");
}

#[tokio::test]
async fn spans_are_counted_from_the_start_where_there_are_any() {
    let app = hello("hi").await;
    let counts = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| line.starts_with("portcullis_trace_spans"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let sidecar = Sidecar::start(&app, &[]).await;
    assert_eq!(counts(&sidecar.probe("/metrics").await.text()), [""; 0]);
    let collector = Collector::otlp().await;
    let sidecar = Sidecar::traced(&app, &collector, &[]).await;
    let results = ["exported", "dropped", "failed", "rejected"];
    let wanted =
        results.map(|result| format!("portcullis_trace_spans_total{{result=\"{result}\"}} 0"));
    assert_eq!(counts(&sidecar.probe("/metrics").await.text()), wanted);
}

#[tokio::test]
async fn each_span_arrives_once_also_what_is_left_in_the_end() {
    let app = hello("hi").await;
    for collector in [Collector::otlp().await, Collector::zipkin().await] {
        let sidecar = Sidecar::traced(&app, &collector, &["--target-locked"]).await;
        for _ in 0..50 {
            assert_eq!(Client::h1(&sidecar).get("/").await.text(), "hi");
        }
        sidecar.signal(Signal::TERM);
        assert_eq!(sidecar.ended().await.code, Some(0));
        let ids: Vec<_> = collector.spans().into_iter().map(|span| span.id).collect();
        let different: HashSet<_> = ids.iter().collect();
        // One of the client's request, one of the application's.
        assert_eq!((ids.len(), different.len()), (100, 100));
    }
}

#[tokio::test]
async fn a_collector_behind_tls_and_a_token_is_reached_by_a_sidecar_that_may_open_nothing_else() {
    let app = hello("hi").await;
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let leaf = ca.leaf();
    let collector = Collector::otlp_over_tls(&leaf.certificate, &leaf.key).await;
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (bundle, headers) = (place("ca.crt"), place("headers"));
    fs::write(&bundle, &ca.pem).unwrap();
    fs::write(&headers, "Authorization: Bearer one\n").unwrap();
    let files = ["--trace-ca", &bundle, "--trace-header-file", &headers];
    let sidecar = Sidecar::traced(
        &app,
        &collector,
        &[&files[..], &["--target-locked"]].concat(),
    )
    .await;
    let arrives = async |token: &str| {
        Client::h1(&sidecar).get("/").await;
        eventually(token, async || {
            let exports = collector.exports();
            let last = exports.last()?.field("authorization")?;
            (last == token).then_some(())
        })
        .await;
    };
    arrives("Bearer one").await;
    // As a token that is renewed is put there.
    fs::write(place("new"), "Authorization: Bearer two\n").unwrap();
    fs::rename(place("new"), &headers).unwrap();
    arrives("Bearer two").await;
    assert_eq!(collector.connections(), 1);
}

#[tokio::test]
async fn a_collector_that_is_dead_slow_or_mad_is_nothing_that_clients_notice() {
    let app = hello("hi").await;
    let (dead, _port) = Collector::dead();
    let [slow, mad, busy] = [Mode::Slow, Mode::Noise, Mode::Status("503 Busy")].map(async |mode| {
        let collector = Collector::zipkin().await;
        collector.becomes(mode);
        collector
    });
    let (slow, mad, busy) = (slow.await, mad.await, busy.await);
    // Silence is silence only when its time is over, which is after the end.
    for (url, told_of) in [(dead, 1), (slow.url(), 0), (mad.url(), 1), (busy.url(), 1)] {
        let flags = ["--trace-exporter", "zipkin", "--trace-endpoint", &url];
        let sidecar = Sidecar::start(&app, &flags).await;
        for _ in 0..20 {
            assert_eq!(Client::h1(&sidecar).get("/").await.text(), "hi");
        }
        sidecar.signal(Signal::TERM);
        let ended = sidecar.ended().await;
        assert_eq!(ended.code, Some(0), "{url}");
        // Told once, however many spans and tries there were.
        let told = |part| ended.stderr.matches(part).count();
        let lost = "spans are lost: the collector did not take them before the end";
        assert_eq!(told(lost), 1, "{}", ended.stderr);
        assert_eq!(told("takes no spans"), told_of, "{}", ended.stderr);
        assert!(told("spans=40") == 1, "{}", ended.stderr);
    }
}
