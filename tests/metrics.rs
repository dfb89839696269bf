use tokio::io::AsyncWriteExt;

use crate::support::{Client, H2, Sidecar, eventually, h2_get, hello, read_answer, send};

async fn openmetrics(sidecar: &Sidecar) -> String {
    send(
        sidecar.probe,
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3\r\nConnection: close\r\n\r\n",
    )
    .await
    .text()
}

fn series(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, _)| series)
        .collect()
}

#[tokio::test]
async fn nothing_that_a_client_chooses_makes_a_series() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let visit = async |number: usize| {
        // A name that our certificate does not have; this client goes away.
        let stranger = Client::h1(&sidecar).asking(["a.example", "b.example"][number % 2]);
        stranger.connect().await.unwrap_err();
        let mut stream = Client::h1(&sidecar).connect().await.unwrap();
        let request = format!(
            "METHOD{number} /{number}?{number} HTTP/1.1\r\nHost: h{number}.example\r\nUser-Agent: {number}\r\n\r\n"
        );
        for _ in 0..5 {
            stream.write_all(request.as_bytes()).await.unwrap();
            read_answer(&mut stream).await.unwrap();
        }
    };
    for number in 0..4 {
        visit(number).await;
    }
    let before = sidecar.probe("/metrics").await.text();
    for number in 4..40 {
        visit(number).await;
    }
    let after = sidecar.probe("/metrics").await.text();
    assert_eq!(series(&before), series(&after));
    let counted = r#"portcullis_requests_total{method="other",code="200",reason=""}"#;
    assert_eq!(sidecar.metric(counted).await, 200);
}

#[tokio::test]
async fn a_trace_that_a_trusted_proxy_samples_stands_beside_its_bucket_in_openmetrics_alone() {
    let app = hello("hi").await;
    let traced = async |arguments: &[&str]| {
        let sidecar = Sidecar::start(&app, arguments).await;
        for (digit, flags) in [('a', "00"), ('b', "01"), ('c', "00"), ('0', "01")] {
            let trace = digit.to_string().repeat(32);
            let request = format!(
                "GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-{trace}-b7ad6b7169203331-{flags}\r\nConnection: close\r\n\r\n"
            );
            Client::h1(&sidecar).send(request).await;
        }
        let open = eventually("all are counted", async || {
            let open = openmetrics(&sidecar).await;
            open.contains("portcullis_request_duration_seconds_count 4")
                .then_some(open)
        })
        .await;
        assert!(!sidecar.probe("/metrics").await.text().contains("trace_id"));
        open
    };
    let open = traced(&["--trusted-proxy", "127.0.0.1"]).await;
    let with: Vec<_> = open.lines().filter(|line| line.contains(" # ")).collect();
    assert_eq!(with.len(), 1, "{with:?}");
    let exemplar = format!(" # {{trace_id=\"{}\"}} ", "b".repeat(32));
    assert!(
        with[0].starts_with("portcullis_request_duration_seconds_bucket{le=")
            && with[0].contains(&exemplar)
    );
    // Anybody can say that a trace is sampled.
    assert!(!traced(&[]).await.contains("trace_id"));
}

#[tokio::test]
async fn what_is_counted_by_class_is_there_from_the_start() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let text = sidecar.probe("/metrics").await.text();
    for line in [
        r#"portcullis_log_dropped_total{class="success"} 0"#,
        r#"portcullis_log_dropped_total{class="error"} 0"#,
        r#"portcullis_log_dropped_total{class="audit"} 0"#,
        "portcullis_log_sampled_out_total 0",
        "portcullis_requests_in_flight 0.0",
        r#"portcullis_upstream_retries_total{outcome="ok"} 0"#,
        r#"portcullis_upstream_retries_total{outcome="failed"} 0"#,
        r#"portcullis_connections_refused_total{reason="max_connections"} 0"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing in\n{text}"
        );
    }
}

#[tokio::test]
async fn connections_are_active_while_something_is_open_on_them() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &[]).await;
    let h2: H2 = Client::new(&sidecar, &["h2"]).h2().await;
    h2.exchange(h2_get("/"), None).await.unwrap();
    let (idle, active) = (
        r#"portcullis_connections{state="idle"}"#,
        r#"portcullis_connections{state="active"}"#,
    );
    eventually("it is idle", async || {
        (sidecar.metric(idle).await == 1).then_some(())
    })
    .await;
    assert_eq!(sidecar.metric(active).await, 0);
    let upstream = r#"portcullis_upstream_connections{state="idle"}"#;
    eventually("the application's is idle, too", async || {
        (sidecar.metric(upstream).await == 1).then_some(())
    })
    .await;
    let post = http::Request::post("https://localhost/").body(()).unwrap();
    let (_answer, _body) = h2.begin(post, false).await;
    eventually("it is active", async || {
        let now = (sidecar.metric(active).await, sidecar.metric(idle).await);
        (now == (1, 0)).then_some(())
    })
    .await;
}
