use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::support::{App, Client, Ended, Sidecar, eventually, hello, read_answer, running};

const ODD: &str = "GET /odd%0a?token=hidden HTTP/1.1\r\nHost: a\r\nUser-Agent: q\" \\ \u{1b}[31m é\r\nReferer: http://r/\"\r\nConnection: close\r\n\r\n";

/// What stands on stdout behind the lines of the start.
async fn lines(sidecar: &Sidecar, what: &str) -> Vec<String> {
    eventually(what, async || {
        let text = sidecar.stdout_text();
        text.contains(what)
            .then(|| text.lines().map(str::to_owned).collect())
    })
    .await
}

#[tokio::test]
async fn combined_lines_are_those_of_nginx_and_all_else_is_a_comment() {
    let app = hello("hi there").await;
    let sidecar = Sidecar::start(&app, &["--log-format", "combined", "--log-query"]).await;
    Client::h1(&sidecar).send(ODD.replace('\u{1b}', "")).await;
    let lines = lines(&sidecar, "/odd").await;
    let (comments, exchanges): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line.starts_with("# "));
    // The start of the certificate is an audit record.
    assert!(
        comments.iter().any(|line| line.contains(" audit ")),
        "{lines:?}"
    );
    let [line] = exchanges[..] else {
        panic!("{exchanges:?}")
    };
    let (head, rest) = line.split_once(" [").unwrap();
    let (_, rest) = rest.split_once("] ").unwrap();
    assert_eq!(head, "127.0.0.1 - -");
    assert_eq!(
        rest,
        r#""GET /odd%0a?token=hidden HTTP/1.1" 200 8 "http://r/\x22" "q\x22 \x5C [31m \xC3\xA9""#
    );
}

#[tokio::test]
async fn text_lines_tell_service_target_route_and_time_and_obey_no_client() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--log-format", "text"]).await;
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    stream
        .write_all(b"GET /odd\xc2\x9b31m HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    read_answer(&mut stream).await.unwrap();
    Client::h1(&sidecar).get("/plain").await;
    let lines = lines(&sidecar, "/plain").await;
    let line = lines.iter().find(|line| line.contains("/plain")).unwrap();
    for part in [
        "under-test",
        &app.to_string(),
        "/plain",
        "200",
        "GET",
        "127.0.0.1",
        " ms",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    let is_obeyed = |letter: char| letter.is_control();
    assert!(
        !lines.iter().any(|line| line.contains(is_obeyed)),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_log_file_is_opened_again_when_it_was_moved_away() {
    let app = hello("hi").await;
    let folder = tempfile::tempdir().unwrap();
    let (file, moved) = (folder.path().join("log"), folder.path().join("log.1"));
    let path = file.to_str().unwrap();
    let sidecar = Sidecar::start(&app, &["--log-file", path]).await;
    let wrote = async |file: &std::path::Path, path: &str| {
        let wanted = format!("\"path\":\"{path}\"");
        eventually(&wanted, async || {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.contains(&wanted).then_some(())
        })
        .await;
    };
    Client::h1(&sidecar).get("/before").await;
    wrote(&file, "/before").await;
    fs::rename(&file, &moved).unwrap();
    Client::h1(&sidecar).get("/moved").await;
    wrote(&moved, "/moved").await;
    sidecar.signal(Signal::USR1);
    eventually("a new file", async || file.exists().then_some(())).await;
    Client::h1(&sidecar).get("/after").await;
    wrote(&file, "/after").await;
    // A folder that is gone leaves the open file in use, and says so.
    fs::rename(folder.path(), folder.path().with_extension("away")).unwrap();
    sidecar.signal(Signal::USR1);
    eventually("it is said", async || {
        sidecar
            .log()
            .contains("cannot be opened again")
            .then_some(())
    })
    .await;
    Client::h1(&sidecar).get("/still").await;
    let away = folder.path().with_extension("away");
    wrote(&away.join("log"), "/still").await;
    fs::rename(away, folder.path()).unwrap();
    assert_eq!(sidecar.stdout_text(), "");
}

#[tokio::test]
async fn a_log_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let mut command = running();
    let folder = tempfile::tempdir().unwrap();
    command
        .arg("--log-file")
        .arg(folder.path().join("nowhere/log"));
    let ended = Ended::of(command);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("opening --log-file") && ended.stderr.contains("nowhere/log"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn logs_are_rotated_in_the_drain_too() {
    let (app, _ends) = App::listening().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log");
    let sidecar = Sidecar::start(&app, &["--log-file", file.to_str().unwrap()]).await;
    let mut waiting = Client::h1(&sidecar).connect().await.unwrap();
    waiting
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    eventually("the application has it", async || {
        (!app.heads().is_empty()).then_some(())
    })
    .await;
    sidecar.signal(Signal::TERM);
    eventually("it drains", async || {
        sidecar.log().contains("accepting no more").then_some(())
    })
    .await;
    fs::rename(&file, folder.path().join("log.1")).unwrap();
    sidecar.signal(Signal::USR1);
    eventually("a new file", async || file.exists().then_some(())).await;
}

#[tokio::test]
async fn a_fifo_that_nobody_reads_is_an_error_and_nothing_to_wait_for() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("log");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let mut command = running();
    command.arg("--log-file").arg(&fifo);
    let ended = Ended::of(command);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("opening --log-file"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_full_disk_costs_lines_and_is_counted_and_said() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--log-file", "/dev/full"]).await;
    let client = Client::h1(&sidecar);
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    eventually("all are lost and counted", async || {
        let lost = sidecar
            .metric(r#"portcullis_log_dropped_total{class="success"}"#)
            .await;
        (lost == 20).then_some(())
    })
    .await;
    assert_eq!(
        sidecar.log().matches("records cannot be written").count(),
        1
    );
    // What is not in the file is still in the ring.
    let kept = sidecar.admin("/logs?kind=exchange").await.json();
    assert_eq!(kept.as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn in_a_flood_nobody_reads_successes_go_first_and_the_counts_add_up() {
    let app = App::failing_at("/fail", "500 Oh").await;
    let mut sidecar = Sidecar::start(&app, &["--log-query"]).await;
    sidecar.stop_reading_stdout();
    let mut stream = Client::h1(&sidecar).connect().await.unwrap();
    let (query, dropped) = (
        "q".repeat(1000),
        r#"portcullis_log_dropped_total{class="success"}"#,
    );
    let mut ask = async |path: &str| {
        let request = format!(
            "GET {path}?{query} HTTP/1.1\r\nHost: a\r\nUser-Agent: {query}\r\nReferer: {query}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        read_answer(&mut stream).await.unwrap()
    };
    let mut good = 0;
    while good % 100 != 0 || sidecar.metric(dropped).await == 0 {
        assert_eq!(ask("/good").await.status, 200);
        good += 1;
        assert!(good < 20_000, "nothing is ever dropped");
    }
    for _ in 0..100 {
        assert_eq!(ask("/fail").await.status, 500);
    }
    // An audit record has room when nothing else has.
    assert_eq!(
        sidecar.put_target("{\"url\":\"https://no\"}").await.status,
        422
    );
    // What the worker has gathered is handed over before the history is shown.
    sidecar.admin("/logs?limit=1").await;
    let lost = sidecar.metric(dropped).await;
    let lost_errors = sidecar
        .metric(r#"portcullis_log_dropped_total{class="error"}"#)
        .await;
    let lost_audit = sidecar
        .metric(r#"portcullis_log_dropped_total{class="audit"}"#)
        .await;
    assert!(lost > 0);
    assert_eq!((lost_errors, lost_audit), (0, 0));
    sidecar.read_stdout_again();
    sidecar
        .record("what is missing is announced", |record| {
            record["kind"] == "notice" && record["reason"] == "log_dropped"
        })
        .await;
    sidecar.signal(Signal::TERM);
    let ended = sidecar.ended().await;
    let records: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let count = |path: &str| {
        records
            .iter()
            .filter(|record| record["path"] == path)
            .count() as u64
    };
    let announced: u64 = records
        .iter()
        .filter_map(|record| record["dropped_success"].as_u64())
        .sum();
    assert_eq!(announced, lost);
    assert_eq!(count("/good") + announced, good);
    assert_eq!(count("/fail"), 100);
    assert!(
        records
            .iter()
            .any(|record| record["action"] == "target_change")
    );
}

#[tokio::test]
async fn a_sample_of_the_successes_is_written_and_everything_else() {
    let app = App::failing_at("/fail", "500 Oh").await;
    let sidecar = Sidecar::start(&app, &["--log-sample", "0"]).await;
    let client = Client::h1(&sidecar);
    for path in ["/good", "/good", "/fail"] {
        client.get(path).await;
    }
    let record = sidecar.exchange("/fail").await;
    assert_eq!(record["status"], 500);
    assert!(!sidecar.stdout_text().contains("/good"));
    let kept = sidecar.admin("/logs?path=/good").await.json();
    assert_eq!(kept.as_array().unwrap().len(), 2);
    assert_eq!(sidecar.metric("portcullis_log_sampled_out_total").await, 2);
}

#[tokio::test]
async fn a_slow_exchange_is_written_like_a_failed_one() {
    let app = hello("hi").await;
    let sidecar = Sidecar::start(&app, &["--log-sample", "0", "--slow", "0"]).await;
    Client::h1(&sidecar).get("/slow").await;
    sidecar.exchange("/slow").await;
}

#[tokio::test]
async fn secrets_are_written_only_where_somebody_asks_for_them() {
    let app = App::echo().await;
    let arguments = [
        "--log-query",
        "--log-header",
        "X-Tenant",
        "--log-header",
        "x-empty",
        "--redact",
        "(token|key)=[^&]*",
        "--redact",
        r"\d{4}-\d{4}",
    ];
    let sidecar = Sidecar::start(&app, &arguments).await;
    let request = "GET /card/1234-5678?token=hidden&page=2 HTTP/1.1\r\nHost: a\r\nX-Tenant: one key=hidden\r\nX-Tenant: two\r\n\
        Referer: http://r/1234-5678?token=hidden\r\nUser-Agent: key=hidden\r\nAuthorization: Bearer hidden\r\nCookie: hidden\r\n\
        X-Other: hidden\r\nConnection: close\r\n\r\n";
    Client::h1(&sidecar).send(request).await;
    let record = sidecar.exchange("/card/[redacted]").await;
    for (field, wanted) in [
        ("query", Value::from("[redacted]&page=2")),
        (
            "headers",
            serde_json::json!({ "x-tenant": "one [redacted], two" }),
        ),
        ("referer", "http://r/[redacted]".into()),
        ("user_agent", "[redacted]".into()),
    ] {
        assert_eq!(record[field], wanted, "{field}");
    }
    let all = sidecar.admin("/logs").await.text() + &sidecar.stdout_text() + &sidecar.log();
    assert!(
        !all.contains("hidden") && !all.contains("1234-5678"),
        "{all}"
    );
}
