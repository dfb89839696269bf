//! Collectors that are away, slow, mad, busy or choosy, and the end.

use super::*;

#[tokio::test]
async fn what_waits_is_bounded_in_number_and_in_bytes_while_the_collector_is_dead() {
    let (url, _port) = Collector::dead();
    let (exporter, lane) = exporter(&traces(Format::Otlp, &url), QUICK);
    for _ in 0..10_000 {
        lane.put(span(1));
    }
    let held = 8192;
    let counts = exporter.counts();
    assert_eq!((counts.dropped, counts.failed), (10_000 - held, 0));
    counted(
        &exporter,
        Counts {
            dropped: 10_000 - held,
            failed: held,
            ..Counts::default()
        },
    )
    .await;
    let standing = exporter.standing();
    assert!(standing.failing_since.is_some());
    let why = standing.last_error.unwrap();
    assert!(
        why.contains("refused") && why.contains("does the collector listen there?"),
        "{why}"
    );
    let large = || Span {
        name: Cow::Owned("x".repeat(1 << 20)),
        ..span(1)
    };
    for _ in 0..20 {
        lane.put(large());
    }
    assert_eq!(exporter.counts().dropped, 10_000 - held + 13);
}

#[tokio::test]
async fn a_collector_that_says_for_ever_that_it_will_answer_is_not_listened_to() {
    let collector = Collector::otlp().await;
    collector.becomes(Mode::Interim);
    // Time is not what ends it.
    let patient = Pace {
        export: Duration::from_secs(3600),
        ..QUICK
    };
    let (exporter, lane) = exporter(&traces(Format::Otlp, &collector.url()), patient);
    lane.put(span(1));
    counted(&exporter, failed(1)).await;
    let why = exporter.standing().last_error.unwrap();
    assert!(why.contains("the answer has no end"), "{why}");
}

#[tokio::test]
async fn a_collector_that_never_answers_is_left_after_a_while() {
    let collector = Collector::otlp().await;
    collector.becomes(Mode::Slow);
    let hasty = Pace {
        export: Duration::from_millis(20),
        ..QUICK
    };
    let (exporter, lane) = exporter(&traces(Format::Otlp, &collector.url()), hasty);
    lane.put(span(1));
    counted(&exporter, failed(1)).await;
    let why = exporter.standing().last_error.unwrap();
    assert!(why.contains("no answer within 20ms"), "{why}");
    assert_eq!(collector.exports().len(), MOST_TRIES as usize);
}

#[tokio::test]
async fn what_is_no_http_is_tried_again_and_told_as_such() {
    let collector = Collector::otlp().await;
    collector.becomes(Mode::Noise);
    let (exporter, lane) = exporter(&traces(Format::Otlp, &collector.url()), QUICK);
    lane.put(span(1));
    counted(&exporter, failed(1)).await;
    let why = exporter.standing().last_error.unwrap();
    assert!(why.contains("not HTTP/1.1"), "{why}");
    assert_eq!(collector.exports().len(), MOST_TRIES as usize);
}

#[tokio::test]
async fn the_status_counts_whatever_the_body_is() {
    for mode in [Mode::GarbageBody, Mode::EndlessBody] {
        let collector = Collector::otlp().await;
        collector.becomes(mode);
        let (exporter, lane) = exporter(&traces(Format::Otlp, &collector.url()), QUICK);
        for number in [1, 2] {
            lane.put(span(number));
            let exported = number.into();
            counted(
                &exporter,
                Counts {
                    exported,
                    ..Counts::default()
                },
            )
            .await;
        }
        assert_eq!(collector.exports().len(), 2, "{mode:?}");
        assert_eq!(exporter.standing().failing_since, None);
    }
}

#[tokio::test]
async fn a_collector_that_is_busy_gets_the_same_batch_again() {
    let collector = Collector::otlp().await;
    collector.becomes(Mode::Status("503 Service Unavailable\r\nRetry-After: 1"));
    let (exporter, lane) = exporter(&traces(Format::Otlp, &collector.url()), QUICK);
    lane.put(span(1));
    let exports = exporter
        .beside(async {
            collector.asked(2).await;
            collector.becomes(Mode::Good);
            collector
                .until("it is taken", |spans| (spans.len() == 1).then_some(()))
                .await;
            collector.exports()
        })
        .await;
    assert!(exports.iter().all(|export| export.body == exports[0].body));
    assert_eq!(
        exporter.counts(),
        Counts {
            exported: 1,
            ..Counts::default()
        }
    );
    let standing = exporter.standing();
    assert_eq!(standing.failing_since, None);
    assert!(standing.last_error.unwrap().contains("503"));
    // The connection was good all the time.
    assert_eq!(collector.connections(), 1);
}

#[tokio::test]
async fn a_batch_that_is_refused_for_good_is_not_sent_again() {
    for (status, part) in [
        (
            "400 Bad Request\r\nContent-Type: text/plain",
            "400 Bad Request (no): does it take",
        ),
        ("401 Unauthorized", "--trace-header-file"),
        ("404 Not Found", "usually is /v1/traces"),
        (
            "301 Moved Permanently\r\nLocation: /x",
            "redirects are not followed",
        ),
    ] {
        let collector = Collector::otlp().await;
        collector.becomes(Mode::Status(status));
        let (exporter, lane) = exporter(&traces(Format::Otlp, &collector.url()), QUICK);
        lane.put(span(1));
        counted(
            &exporter,
            Counts {
                rejected: 1,
                ..Counts::default()
            },
        )
        .await;
        let why = exporter.standing().last_error.unwrap();
        assert!(why.contains(part), "{why}");
        assert_eq!(collector.exports().len(), 1);
    }
}

#[tokio::test]
async fn what_a_collector_did_not_take_of_a_batch_is_counted() {
    let collector = Collector::otlp().await;
    collector.becomes(Mode::Partial(2, "too\r\nold"));
    let (exporter, lane) = exporter(&traces(Format::Otlp, &collector.url()), QUICK);
    for number in 1..=3 {
        lane.put(span(number));
    }
    let wanted = Counts {
        exported: 1,
        rejected: 2,
        ..Counts::default()
    };
    counted(&exporter, wanted).await;
    let why = exporter.standing().last_error.unwrap();
    assert!(why.contains("2 spans of 3 (too  old)"), "{why}");
    // No more than there were.
    collector.becomes(Mode::Partial(99, ""));
    lane.put(span(4));
    let wanted = Counts {
        exported: 1,
        rejected: 3,
        ..Counts::default()
    };
    counted(&exporter, wanted).await;
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_nothing() {
    let collector = Collector::otlp().await;
    collector.becomes(Mode::Closing);
    let (exporter, lane) = exporter(&traces(Format::Otlp, &collector.url()), QUICK);
    for number in 1..=5 {
        lane.put(span(number));
        let exported = number.into();
        counted(
            &exporter,
            Counts {
                exported,
                ..Counts::default()
            },
        )
        .await;
    }
    assert_eq!(collector.connections(), 5);
    assert_eq!(exporter.standing().last_error, None);
}

#[tokio::test]
async fn what_is_left_in_the_end_is_sent_once_and_never_waited_for_long() {
    let slow = Pace {
        every: Duration::from_secs(3600),
        last: Duration::from_millis(20),
        ..QUICK
    };
    for (mode, wanted) in [
        (
            Mode::Good,
            Counts {
                exported: 600,
                ..Counts::default()
            },
        ),
        (
            Mode::Slow,
            Counts {
                failed: 600,
                ..Counts::default()
            },
        ),
        (
            Mode::Status("503 No"),
            Counts {
                failed: 600,
                ..Counts::default()
            },
        ),
    ] {
        let collector = Collector::otlp().await;
        collector.becomes(mode);
        let last = if mode == Mode::Good {
            QUICK.last
        } else {
            slow.last
        };
        let pace = Pace { last, ..slow };
        let (exporter, lane) = exporter(&traces(Format::Otlp, &collector.url()), pace);
        for _ in 0..600 {
            lane.put(span(1));
        }
        exporter.beside(async {}).await;
        assert_eq!(exporter.counts(), wanted, "{mode:?}");
    }
}

#[test]
fn tries_come_less_often_until_one_goes_well() {
    let second = Duration::from_secs(1);
    let (exporter, _) = exporter(&traces(Format::Otlp, "http://127.0.0.1:1"), PACE);
    let mut work = exporter.work.try_lock().unwrap();
    let longest = PACE.pause.1;
    for wanted in [1, 2, 4, 8, 16, 30, 30] {
        let pause = work.wait(None, longest).as_secs_f64();
        let wanted = f64::from(wanted);
        assert!((wanted * 0.79..=wanted * 1.21).contains(&pause), "{pause}");
    }
    work.pause = second;
    assert_eq!(work.wait(Some(20 * second), longest), 20 * second);
    assert_eq!(work.wait(Some(3600 * second), longest), longest);
}
