//! For tests: a sidecar of known numbers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::model::{Model, News, Poll};
use super::{counters, record};

pub(super) fn now() -> OffsetDateTime {
    OffsetDateTime::parse("2026-11-23T10:00:30Z", &Rfc3339).unwrap()
}

pub(super) fn status() -> Value {
    json!({
        "version": "0.1.0", "service": "shop", "phase": "ready", "ready": true, "uptime_s": 273_845,
        "pending": [], "degraded": [], "target": {"url": "http://127.0.0.1:8080", "drift": false},
        "certificate": {"parts": [
            {"kind": "certificate", "source": "/tls", "names": ["DNS:shop.example"], "not_after": "2027-02-20T12:00:00Z"},
        ]},
    })
}

/// A look after so many seconds at a sidecar that has answered so many hundred requests.
pub(super) fn look(began: Instant, seconds: u64, hundreds: u64, status: Value) -> News {
    let count = hundreds * 100;
    let text = format!(
        r#"
portcullis_requests_total{{method="GET",code="200",reason=""}} {}
portcullis_requests_total{{method="GET",code="404",reason=""}} {hundreds}
portcullis_requests_total{{method="GET",code="502",reason="upstream_refused"}} {}
portcullis_request_duration_seconds_bucket{{le="0.001"}} {}
portcullis_request_duration_seconds_bucket{{le="0.005"}} {}
portcullis_request_duration_seconds_bucket{{le="+Inf"}} {count}
portcullis_upstream_duration_seconds_bucket{{le="0.001"}} {count}
portcullis_upstream_duration_seconds_bucket{{le="+Inf"}} {count}
portcullis_request_bytes_total {}
portcullis_response_bytes_total {}
portcullis_connections{{state="active"}} 3
portcullis_connections{{state="idle"}} 40
portcullis_connections{{state="handshake"}} 1
portcullis_upstream_connections{{state="active"}} 2
portcullis_upstream_connections{{state="idle"}} 4
portcullis_requests_in_flight 2
portcullis_handshakes_total{{result="ok",resumed="true"}} {}
portcullis_handshakes_total{{result="failed",resumed="false"}} {hundreds}
process_start_time_seconds 1700000000
"#,
        hundreds * 97,
        hundreds * 2,
        hundreds * 50,
        hundreds * 90,
        hundreds * 1024,
        hundreds * 1_048_576,
        hundreds * 4,
    );
    let (counters, gauges) = counters::read(&text);
    News::Polled(Box::new(Poll {
        at: began + Duration::from_secs(seconds),
        status,
        counters,
        gauges,
    }))
}

pub(super) fn records(lines: &[String]) -> News {
    let lines = lines.iter().map(|line| record::read(line.as_bytes()));
    News::Lines(lines.collect())
}

pub(super) fn exchange(path: &str, status: u16, reason: &str, ms: u32) -> String {
    json!({
        "kind": "exchange", "time": "2026-11-23T10:00:29.123Z", "client": "192.0.2.7", "method": "GET",
        "path": path, "status": status, "reason": reason, "duration_ms": ms,
    })
    .to_string()
}

/// Ten seconds of a shop.
pub(super) fn shop() -> Model {
    let (mut model, began) = (Model::new(now()), Instant::now());
    model.take(look(began, 0, 10, status()), now());
    let mut lines = vec![
        exchange("/cart", 502, "upstream_refused", 3),
        exchange("/cart", 502, "upstream_refused", 3),
        exchange("/pay", 500, "", 80),
        r#"{"kind":"handshake","time":"2026-11-23T10:00:28.5Z","client":"192.0.2.9","reason":"no_common_version","detail":"it speaks TLS 1.0"}"#.to_owned(),
    ];
    lines.extend((0..18).map(|_| exchange("/", 200, "", 1)));
    model.take(records(&lines), now());
    for second in 1..=10 {
        model.take(look(began, second, 10 + second, status()), now());
    }
    model
}
