//! The exporter against collectors over real sockets.

#[path = "../../../../tests/support/collector.rs"]
#[allow(dead_code, reason = "the integration tests use the rest of it")]
mod collector;

mod files;
mod formats;
mod trouble;

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use serde_json::json;

use self::collector::{Collector, Mode, Seen};
use super::super::lane::Lane;
use super::super::span::{Kind, SpanId, Status, TraceId, Value};
use super::*;
use crate::config::{Authorities, Propagation};

/// Waits long enough for whatever is there, and short enough for what never comes.
const QUICK: Pace = Pace {
    every: Duration::from_millis(2),
    connect: Duration::from_secs(10),
    export: Duration::from_secs(10),
    pause: (Duration::from_millis(1), Duration::from_millis(4)),
    last: Duration::from_secs(10),
};

fn traces(exporter: Format, url: &str) -> Traces {
    let usual = match exporter {
        Format::Otlp => "/v1/traces",
        Format::Zipkin => "/api/v2/spans",
    };
    Traces {
        exporter,
        endpoint: Endpoint::parse(url, usual).unwrap(),
        sample: 1.0,
        propagation: vec![Propagation::W3c],
        ca: None,
        header_file: None,
    }
}

/// An exporter, and a lane into it.
fn exporter(traces: &Traces, pace: Pace) -> (Exporter, std::sync::Arc<Lane>) {
    let resource = Resource {
        service: "shop".to_owned(),
        host: Some("shop-7d4".to_owned()),
    };
    let lanes = Lanes::new(1);
    let lane = lanes.lane();
    (Exporter::with_pace(traces, resource, lanes, pace), lane)
}

fn failed(spans: u64) -> Counts {
    Counts {
        failed: spans,
        ..Counts::default()
    }
}

fn span(number: u8) -> Span {
    Span {
        trace: TraceId {
            bytes: [0xa0; 16],
            is_short: false,
        },
        id: SpanId([number; 8]),
        parent: Some(SpanId([0xb0; 8])),
        is_random: false,
        state: Some("rojo=1".into()),
        kind: Kind::Server,
        name: "GET".into(),
        started: UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456),
        took: Duration::from_micros(2500),
        status: Status::Unset,
        attributes: vec![
            ("http.request.method", Value::Text("GET".into())),
            ("http.response.status_code", Value::Number(200)),
            (
                "network.peer.address",
                Value::Text("::ffff:10.0.0.7".into()),
            ),
            ("network.peer.port", Value::Number(4711)),
            ("tls.resumed", Value::Flag(true)),
        ],
    }
}

fn failed_call(number: u8) -> Span {
    Span {
        trace: TraceId {
            bytes: [0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9],
            is_short: true,
        },
        parent: None,
        is_random: false,
        state: None,
        kind: Kind::Client,
        took: Duration::ZERO,
        status: Status::Error("upstream_refused".into()),
        attributes: vec![("network.peer.address", Value::Text("/run/app.sock".into()))],
        ..span(number)
    }
}

/// Exports until the numbers are these.
async fn counted(exporter: &Exporter, wanted: Counts) {
    let reached = async {
        while exporter.counts() != wanted {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let reached = timeout(Duration::from_secs(20), exporter.beside(reached)).await;
    assert!(reached.is_ok(), "{:?} is not {wanted:?}", exporter.counts());
}

fn two(seen: &[Seen]) -> Option<[Seen; 2]> {
    seen.to_vec().try_into().ok()
}
