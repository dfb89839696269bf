//! Between the rooms and the house: gives `admin` the small traits it asks for, and tells everybody what the certificate
//! store did.

mod app_health;
mod certificates;
mod entry;
mod exposure;
mod inflight;
mod operation;
mod status;
mod targets;
mod teller;
mod tokens;
mod traces;
mod upkeep;

use std::sync::Arc;
use std::time::SystemTime;

use portcullis_admin::{Handles, MetricsFormat, OptionView, Passage, Records, Waiting};
use portcullis_certs::Store;
use tokio::sync::{Notify, watch};

use self::app_health::Question;
use crate::addresses::Addresses;
use crate::config::{Config, Raw};
use crate::crowd::Crowd;
use crate::exposure::Guard;
use crate::listener::Gate;
use crate::log_filter::LogFilter;
use crate::logging::Logging;
use crate::metrics::{Facts, Metrics};
use crate::phase::Life;
use crate::places::Places;
use crate::records::{LogHandle, Policy, Ring, Roll};
use crate::restrict::Restriction;
use crate::trace::{self, Exporter, Lanes};
use crate::upstream::{Dialer, Targets};
use crate::worker::Shared;

pub(crate) use entry::Entry;
pub(crate) use teller::Teller;
pub(crate) use tokens::read_tokens;

/// Everything that lives as long as the process.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) config: Arc<Config>,
    pub(crate) life: Arc<Life>,
    pub(crate) certificates: Arc<Store>,
    pub(crate) targets: Arc<Targets>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: LogHandle,
    pub(crate) entry: Entry,
    /// Somebody asked by the admin plane to drain.
    pub(crate) drain: Arc<Notify>,
    log_filter: LogFilter,
    options: Arc<Vec<OptionView>>,
    restrictions: Arc<Vec<Restriction>>,
    addresses: Addresses,
    /// Tells this process from the one before it.
    nonce: String,
    dialer: Dialer,
    policy: Arc<Policy>,
    roll: Arc<Roll>,
    ring: Arc<Ring>,
    started: SystemTime,
    app: Option<Arc<Question>>,
    pub(crate) guard: Arc<Guard>,
    /// Sends spans; none where there are no traces.
    pub(crate) exporter: Option<Arc<Exporter>>,
}

/// What the house is put together from.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) raw: &'a Raw,
    pub(crate) restrictions: Vec<Restriction>,
    pub(crate) addresses: &'a Addresses,
    pub(crate) life: Arc<Life>,
    pub(crate) certificates: Arc<Store>,
    pub(crate) targets: Arc<Targets>,
    pub(crate) entry: Entry,
}

impl House {
    pub(crate) fn new(parts: Parts<'_>, logging: &Logging) -> Self {
        let Parts {
            config,
            raw,
            restrictions,
            addresses,
            life,
            certificates,
            targets,
            entry,
        } = parts;
        let started = SystemTime::now();
        let log = logging.handle();
        let dialer = Dialer::new(targets.own(), config.limits.clone());
        let guard = Arc::new(Guard::new(Arc::clone(&targets)));
        let exporter = exporter(config);
        let metrics = {
            let (certificates, targets) = (Arc::clone(&certificates), Arc::clone(&targets));
            let (log, dialer) = (log.clone(), dialer.clone());
            let (entry, guard) = (entry.clone(), Arc::clone(&guard));
            let exporter = exporter.clone();
            Metrics::new(move || Facts {
                admin_refused: entry.access.refused(),
                parts: certificates::facts(&certificates, entry.certificates.as_ref()),
                plaintext_bypass: exposure::is_bypassed(&guard),
                traces: exporter.as_ref().map(|exporter| exporter.counts()),
                ..facts(&certificates, &targets, &log, &dialer, started)
            })
        };
        let config = Arc::new(config.clone());
        Self {
            log,
            entry,
            drain: Arc::default(),
            log_filter: logging.filter(),
            options: Arc::new(operation::said(raw)),
            restrictions: Arc::new(restrictions),
            addresses: addresses.clone(),
            nonce: format!("{:x}", fastrand::u64(..)),
            dialer,
            policy: Arc::new(Policy::new(&config.recording)),
            roll: Arc::default(),
            app: Question::new(&config, &targets),
            guard,
            exporter,
            config,
            life,
            certificates,
            targets,
            metrics: Arc::new(metrics),
            ring: logging.ring(),
            started,
        }
    }

    pub(crate) fn shared(&self, gate: Gate, generations: watch::Receiver<u64>) -> Shared {
        Shared {
            config: Arc::clone(&self.config),
            certificates: Arc::clone(&self.certificates),
            targets: Arc::clone(&self.targets),
            dialer: self.dialer.clone(),
            metrics: Arc::clone(&self.metrics),
            life: Arc::clone(&self.life),
            gate,
            requests: Places::new(self.config.limits.capacity.requests),
            endless: Places::new(self.config.limits.capacity.connections),
            crowd: Crowd::new(self.config.limits.max_connections_per_client),
            handshakes: Arc::default(),
            generations,
            policy: Arc::clone(&self.policy),
            roll: Arc::clone(&self.roll),
            lanes: self
                .exporter
                .as_ref()
                .map(|exporter| exporter.lanes().clone()),
        }
    }

    /// Exports spans until somebody else is done, and then what is left.
    pub(crate) async fn exporting<T>(&self, until: impl Future<Output = T>) -> T {
        match &self.exporter {
            Some(exporter) => exporter.beside(until).await,
            None => until.await,
        }
    }

    pub(crate) fn handles(&self) -> Handles {
        let this = Arc::new(self.clone());
        Handles {
            lifecycle: this.clone(),
            records: this.clone(),
            inflight: this.clone(),
            targets: this.clone(),
            certificates: this.clone(),
            metrics: this.clone(),
            configuration: this.clone(),
            log_level: this.clone(),
            app: this,
        }
    }
}

impl Records for House {
    fn settle(&self) -> Waiting<'_, ()> {
        Box::pin(inflight::settle(&self.roll))
    }

    fn recent(&self) -> Vec<Arc<[u8]>> {
        self.ring.recent()
    }

    fn after(&self, place: u64, most: usize) -> Passage {
        let passage = self.ring.after(place, most);
        Passage {
            lines: passage.lines,
            place: passage.place,
            missed: passage.missed,
        }
    }

    fn newest(&self) -> u64 {
        self.ring.newest()
    }

    fn place_of(&self, id: &str) -> Option<u64> {
        self.ring.place_of(id)
    }
}

impl portcullis_admin::Metrics for House {
    fn render(&self, format: MetricsFormat) -> String {
        match format {
            MetricsFormat::OpenMetrics => self.metrics.openmetrics(),
            MetricsFormat::Prometheus => self.metrics.prometheus(),
        }
    }
}

fn exporter(config: &Config) -> Option<Arc<Exporter>> {
    let traces = config.traces.as_ref()?;
    let host = std::env::var("HOSTNAME").ok();
    let resource = trace::Resource {
        service: config.service_name.clone(),
        host: host.filter(|name| !name.is_empty()),
    };
    let lanes = Lanes::new(config.workers);
    Some(Arc::new(Exporter::new(traces, resource, lanes)))
}

fn facts(
    store: &Store,
    targets: &Targets,
    log: &LogHandle,
    dialer: &Dialer,
    started: SystemTime,
) -> Facts {
    let dropped = log.dropped();
    Facts {
        generation: store.current().number,
        target_drift: targets.has_drifted(),
        log_dropped: [dropped.success, dropped.error, dropped.audit],
        log_sampled_out: log.sampled_out(),
        upstream_open: dialer.open(),
        panics: crate::panics::count(),
        started: Some(started),
        ..Facts::default()
    }
}
