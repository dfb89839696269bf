//! The registry as text: OpenMetrics by `prometheus-client`, and Prometheus 0.0.4 made from that.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::certificates::PartFacts;
use super::gauges::Gauges;
use super::histogram::Exemplars;
use super::meter::{Meter, Totals};
use super::process;
use super::snapshot::{Snapshot, unix};
use crate::trace::Counts;

/// All meters, and what other rooms have to tell at a scrape.
pub(crate) struct Metrics {
    meters: Mutex<Vec<Arc<Meter>>>,
    facts: Box<dyn Fn() -> Facts + Send + Sync>,
}

/// Numbers that other rooms know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The parts of the certificate room.
    pub parts: Vec<PartFacts>,
    /// The certificate generation served.
    pub generation: u64,
    /// Whether the target in force is not the configured one.
    pub target_drift: bool,
    /// Whether the application can be reached past the sidecar; none where that is not known.
    pub plaintext_bypass: Option<bool>,
    /// Record lines dropped: successes, errors, audit records.
    pub log_dropped: [u64; 3],
    /// Record lines left out on purpose.
    pub log_sampled_out: u64,
    /// Spans by what became of them; none where there are no traces.
    pub traces: Option<Counts>,
    /// Panics.
    pub panics: u64,
    /// Connections to the application.
    pub upstream_open: usize,
    /// Requests that the admin plane did not let in, by the word for why.
    pub admin_refused: [(&'static str, u64); 6],
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

    /// The sums over all threads.
    pub(crate) fn totals(&self) -> (Totals, Gauges) {
        let (mut totals, mut gauges) = (Totals::default(), Gauges::default());
        for meter in self
            .meters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            meter.add_to(&mut totals);
            meter.conns.add_to(&mut gauges);
        }
        (totals, gauges)
    }

    /// Threads that stand still.
    pub(crate) fn blocked(&self) -> usize {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let blocked = meters.iter().filter(|meter| meter.conns.is_blocked());
        blocked.count()
    }

    /// OpenMetrics 1.0.
    pub(crate) fn openmetrics(&self) -> String {
        let (samples, exemplars) = self.samples();
        let mut out = exemplars.beside(&samples);
        // Writing to a String cannot fail.
        let _ = text::encode_eof(&mut out);
        out
    }

    /// All samples as OpenMetrics has them, but for its end mark; and the exemplars, which the library has no way to make of
    /// what others counted.
    fn samples(&self) -> (String, Exemplars) {
        let mut registry = Registry::with_prefix("portcullis");
        let (totals, gauges) = self.totals();
        let facts = (self.facts)();
        let started = facts.started;
        let exemplars = totals.exemplars.clone();
        registry.register_collector(Box::new(Snapshot {
            totals,
            gauges,
            facts,
        }));
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode_registry(&mut out, &registry);
        let _ = write_process(&mut out, started);
        (out, exemplars)
    }

    /// Prometheus text 0.0.4: the same samples, with a counter's family named as its sample is, and no units or end mark.
    pub(crate) fn prometheus(&self) -> String {
        let (open, _) = self.samples();
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
        for line in open.lines().filter(|line| !line.starts_with("# UNIT ")) {
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
