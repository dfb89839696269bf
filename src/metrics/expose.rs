//! The registry as text: OpenMetrics by `prometheus-client`, and Prometheus 0.0.4 made from that.

use std::fmt::{self, Write as _};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::meter::{BUCKETS, Histogram, Meter, Totals};
use super::process;

/// All meters, and what other rooms have to tell at a scrape.
pub(crate) struct Metrics {
    meters: Mutex<Vec<Arc<Meter>>>,
    facts: Box<dyn Fn() -> Facts + Send + Sync>,
}

/// Numbers that other rooms know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// `not_after` of each certificate of the chain: its element's name and Unix time.
    pub not_after: Vec<(&'static str, i64)>,
    /// The certificate generation served.
    pub generation: u64,
    /// Reloads by result.
    pub reloads: Vec<(&'static str, u64)>,
    /// When the files on disk were last found to be what is served.
    pub last_success: Option<SystemTime>,
    /// Whether the target in force is not the configured one.
    pub target_drift: bool,
    /// Record lines dropped.
    pub log_dropped: u64,
    /// When the process started.
    pub started: Option<SystemTime>,
}

impl Metrics {
    /// A registry; `facts` is asked at each scrape.
    pub(crate) fn new(facts: impl Fn() -> Facts + Send + Sync + 'static) -> Self {
        Self {
            meters: Mutex::default(),
            facts: Box::new(facts),
        }
    }

    /// A new meter for one thread.
    pub(crate) fn meter(&self) -> Arc<Meter> {
        let meter = Arc::<Meter>::default();
        self.meters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&meter));
        meter
    }

    /// The sums over all threads, and the gauges `(handshaking, open, idle, upstream_idle)`.
    pub(crate) fn totals(&self) -> (Totals, [i64; 4]) {
        let (mut totals, mut gauges) = (Totals::default(), [0; 4]);
        for meter in self
            .meters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            meter.add_to(&mut totals);
            let conns = &meter.conns;
            let all = [
                &conns.handshaking,
                &conns.open,
                &conns.idle,
                &conns.upstream_idle,
            ];
            for (sum, gauge) in gauges.iter_mut().zip(all) {
                *sum += gauge.load(Ordering::Relaxed);
            }
        }
        (totals, gauges)
    }

    /// OpenMetrics 1.0.
    pub(crate) fn openmetrics(&self) -> String {
        let mut registry = Registry::with_prefix("portcullis");
        let (totals, gauges) = self.totals();
        let facts = (self.facts)();
        let started = facts.started;
        registry.register_collector(Box::new(Snapshot {
            totals,
            gauges,
            facts,
        }));
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode_registry(&mut out, &registry);
        let _ = write_process(&mut out, started);
        let _ = text::encode_eof(&mut out);
        out
    }

    /// Prometheus text 0.0.4: the same samples, with a counter's family named as its sample is, and no units or end mark.
    pub(crate) fn prometheus(&self) -> String {
        let open = self.openmetrics();
        let mut counters = Vec::new();
        for line in open.lines() {
            if let Some(name) = line
                .strip_prefix("# TYPE ")
                .and_then(|rest| rest.strip_suffix(" counter"))
            {
                counters.push(name);
            }
        }
        let mut out = String::with_capacity(open.len());
        for line in open
            .lines()
            .filter(|line| *line != "# EOF" && !line.starts_with("# UNIT "))
        {
            let family = line
                .strip_prefix("# HELP ")
                .or_else(|| line.strip_prefix("# TYPE "));
            match family.and_then(|rest| rest.split_once(' ')) {
                Some((name, rest)) if counters.contains(&name) => {
                    let _ = writeln!(out, "{} {name}_total {rest}", &line[..6]);
                }
                _ => {
                    out.push_str(line);
                    out.push('\n');
                }
            }
        }
        out
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("meters", &self.meters)
            .finish_non_exhaustive()
    }
}

/// The sums of one scrape.
#[derive(Debug)]
struct Snapshot {
    totals: Totals,
    gauges: [i64; 4],
    facts: Facts,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.traffic(&mut encoder)?;
        self.connections(&mut encoder)?;
        self.certificates(&mut encoder)?;
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
                        ("method", (*method).to_owned()),
                        ("code", code),
                        ("reason", (*reason).to_owned()),
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
            "From the request to the head of the application's response",
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
            "upstream_retries",
            "Requests sent again because a kept connection to the application had gone stale",
            [(
                vec![("outcome", "replayed".to_owned())],
                totals.upstream_retries,
            )],
        )
    }

    fn connections(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let [handshaking, open, idle, upstream_idle] = self.gauges;
        let states = [
            ("handshake", handshaking),
            ("active", open - idle),
            ("idle", idle),
        ];
        let states = states.map(|(state, count)| (vec![("state", state.to_owned())], count as f64));
        gauge(to, "connections", "Client connections by state", states)?;
        let idle = [(vec![("state", "idle".to_owned())], upstream_idle as f64)];
        gauge(
            to,
            "upstream_connections",
            "Connections to the application by state",
            idle,
        )?;
        counter(
            to,
            "connections_refused",
            "Connections closed at accept: --max-connections was reached",
            [(vec![], self.totals.refused)],
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

    fn certificates(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let facts = &self.facts;
        let dates = facts.not_after.iter().map(|(element, at)| {
            (
                vec![
                    ("name", "default".to_owned()),
                    ("element", (*element).to_owned()),
                ],
                *at as f64,
            )
        });
        gauge(
            to,
            "certificate_not_after_seconds",
            "End of validity as Unix time",
            dates,
        )?;
        gauge(
            to,
            "certificate_generation",
            "Counts up with each certificate served",
            [(vec![], facts.generation as f64)],
        )?;
        let reloads = facts
            .reloads
            .iter()
            .map(|(result, count)| (vec![("result", (*result).to_owned())], *count));
        counter(
            to,
            "certificate_reloads",
            "Reloads by result; looks at unchanged files are not counted",
            reloads,
        )?;
        let success = facts.last_success.map(|at| (vec![], unix(at)));
        gauge(
            to,
            "certificate_last_reload_success_seconds",
            "When the files on disk were last found to be what is served",
            success,
        )
    }

    fn operation(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        gauge(
            to,
            "target_drift",
            "1 while the target in force is not the configured one",
            [(vec![], f64::from(u8::from(self.facts.target_drift)))],
        )?;
        let dropped = [(vec![("class", "record".to_owned())], self.facts.log_dropped)];
        counter(
            to,
            "log_dropped",
            "Record lines that were not written because nobody read them",
            dropped,
        )?;
        gauge(
            to,
            "build_info",
            "Always 1",
            [(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
        )
    }
}

type Labels = Vec<(&'static str, String)>;

fn counter(
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

fn gauge(
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

/// These have no prefix of ours, so they are written beside the registry.
fn write_process(out: &mut String, started: Option<SystemTime>) -> fmt::Result {
    let process = process::read();
    let mut one = |name: &str, kind: &str, help: &str, value: Option<f64>| -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        let suffix = if kind == "counter" { "_total" } else { "" };
        writeln!(
            out,
            "# HELP {name} {help}.\n# TYPE {name} {kind}\n{name}{suffix} {value}"
        )
    };
    let number = |value: Option<u64>| value.map(|value| value as f64);
    one(
        "process_cpu_seconds",
        "counter",
        "User and system CPU time spent in seconds",
        process.cpu_seconds,
    )?;
    one(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory size in bytes",
        number(process.resident_bytes),
    )?;
    one(
        "process_open_fds",
        "gauge",
        "Number of open file descriptors",
        number(process.open_fds),
    )?;
    one(
        "process_max_fds",
        "gauge",
        "Maximum number of open file descriptors",
        number(process.max_fds),
    )?;
    one(
        "process_threads",
        "gauge",
        "Number of OS threads in the process",
        number(process.threads),
    )?;
    one(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since the epoch in seconds",
        started.map(unix),
    )
}

fn unix(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
