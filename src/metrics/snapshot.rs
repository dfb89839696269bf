//! The sums of one scrape as metric families: names, help texts and labels.

use std::fmt;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::certificates;
use super::expose::Facts;
use super::gauges::Gauges;
use super::histogram::{BUCKETS, Histogram};
use super::meter::{METHODS, Totals};
use super::traces;
use crate::failure::Reason;

/// The sums of one scrape.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) totals: Totals,
    pub(super) gauges: Gauges,
    pub(super) facts: Facts,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.traffic(&mut encoder)?;
        self.connections(&mut encoder)?;
        certificates::encode(&mut encoder, &self.facts)?;
        traces::encode(&mut encoder, &self.facts)?;
        self.operation(&mut encoder)
    }
}

impl Snapshot {
    fn traffic(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let totals = &self.totals;
        let requests = totals
            .requests
            .iter()
            .map(|((method, code, reason), count)| {
                let code = if *code == 0 {
                    "none".to_owned()
                } else {
                    code.to_string()
                };
                (
                    vec![
                        ("method", METHODS[*method].to_owned()),
                        ("code", code),
                        ("reason", reason.map_or("", Reason::word).to_owned()),
                    ],
                    *count,
                )
            });
        counter(
            to,
            "requests",
            "Exchanges by method, status code and reason",
            requests,
        )?;
        histogram(
            to,
            "request_duration",
            "From the first byte of a request to the last of its response",
            &totals.duration,
        )?;
        histogram(
            to,
            "upstream_duration",
            "From the last movement of the request to the head of the application's response",
            &totals.upstream,
        )?;
        counter(
            to,
            "request_bytes",
            "Request body bytes",
            [(vec![], totals.bytes_in)],
        )?;
        counter(
            to,
            "response_bytes",
            "Response body bytes",
            [(vec![], totals.bytes_out)],
        )?;
        counter(
            to,
            "disguised_fields",
            "Request fields removed because applications may read their name as a reserved one (X_Forwarded_For)",
            [(vec![], totals.disguised)],
        )?;
        counter(
            to,
            "upstream_retries",
            "Requests sent again because a kept connection to the application had gone stale",
            [("ok", totals.retries_ok), ("failed", totals.retries_failed)]
                .map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count)),
        )
    }

    fn connections(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let now = &self.gauges;
        let in_flight = [(vec![], now.in_flight as f64)];
        gauge(to, "requests_in_flight", "Exchanges in progress", in_flight)?;
        let states = [
            ("handshake", now.handshaking),
            ("active", now.open - now.idle),
            ("idle", now.idle),
        ];
        gauge(
            to,
            "connections",
            "Client connections by state",
            by("state", states),
        )?;
        let states = [
            ("active", now.upstream_active(self.facts.upstream_open)),
            ("idle", now.upstream_idle),
        ];
        gauge(
            to,
            "upstream_connections",
            "Connections to the application by state",
            by("state", states),
        )?;
        counter(
            to,
            "connections_refused",
            "Connections closed at accept because of a limit",
            [
                ("max_connections", self.totals.refused),
                ("max_connections_per_client", self.totals.crowded),
            ]
            .map(|(reason, count)| (vec![("reason", reason.to_owned())], count)),
        )?;
        counter(
            to,
            "connections_not_allowed",
            "Connections closed at once: the client is not of --allow-client",
            [(vec![], self.totals.not_allowed)],
        )?;
        let handshakes =
            self.totals
                .handshakes
                .iter()
                .map(|((result, reason, version, resumed), count)| {
                    let labels = vec![
                        ("result", (*result).to_owned()),
                        ("reason", (*reason).to_owned()),
                        ("version", (*version).to_owned()),
                        ("resumed", resumed.to_string()),
                    ];
                    (labels, *count)
                });
        counter(to, "handshakes", "TLS handshakes", handshakes)?;
        histogram(
            to,
            "handshake_duration",
            "From accept to the end of a successful handshake",
            &self.totals.handshake_duration,
        )
    }

    fn operation(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        gauge(
            to,
            "target_drift",
            "1 while the target in force is not the configured one",
            [(vec![], f64::from(u8::from(self.facts.target_drift)))],
        )?;
        let facts = &self.facts;
        let bypass = facts
            .plaintext_bypass
            .map(|is_so| (vec![], f64::from(u8::from(is_so))));
        gauge(
            to,
            "plaintext_bypass",
            "1 while the application can be reached past the sidecar; absent where that is not known",
            bypass,
        )?;
        let [success, error, audit] = facts.log_dropped;
        let dropped = [("success", success), ("error", error), ("audit", audit)]
            .map(|(class, count)| (vec![("class", class.to_owned())], count));
        counter(
            to,
            "log_dropped",
            "Record lines that were not written because nobody read them, or the disk was full",
            dropped,
        )?;
        counter(
            to,
            "log_sampled_out",
            "Record lines of successes that --log-sample left out",
            [(vec![], facts.log_sampled_out)],
        )?;
        counter(
            to,
            "admin_refused",
            "Requests that the admin plane did not let in",
            facts
                .admin_refused
                .map(|(reason, count)| (vec![("reason", reason.to_owned())], count)),
        )?;
        counter(
            to,
            "panics",
            "Defects of Portcullis that cost what was being done; each is in its log",
            [(vec![], facts.panics)],
        )?;
        gauge(
            to,
            "workers_blocked",
            "Workers that have stood still for three seconds or more",
            [(vec![], self.gauges.blocked as f64)],
        )?;
        gauge(
            to,
            "build_info",
            "Always 1",
            [(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
        )
    }
}

pub(super) type Labels = Vec<(&'static str, String)>;

pub(super) fn counter(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, u64)>,
) -> fmt::Result {
    let mut encoder = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in samples {
        if labels.is_empty() {
            encoder.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        } else {
            encoder
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
        }
    }
    Ok(())
}

pub(super) fn gauge(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, f64)>,
) -> fmt::Result {
    let mut encoder = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        if labels.is_empty() {
            encoder.encode_gauge(&value)?;
        } else {
            encoder.encode_family(&labels)?.encode_gauge(&value)?;
        }
    }
    Ok(())
}

/// One label, and what is now. Counted by several threads, a moment apart, a difference may come out below nothing.
fn by<const N: usize>(label: &'static str, counts: [(&str, i64); N]) -> [(Labels, f64); N] {
    counts.map(|(value, count)| (vec![(label, value.to_owned())], count.max(0) as f64))
}

fn histogram(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    histogram: &Histogram,
) -> fmt::Result {
    let encoder = to.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
    histogram.encode(encoder)
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BUCKETS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.counts).collect();
        let count = self.counts.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum.as_secs_f64(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

pub(super) fn unix(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
