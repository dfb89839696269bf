//! Between the rooms and the house: gives `admin` the small traits it asks for, and tells everybody what the certificate
//! store did.

mod certificates;
mod teller;

use std::sync::Arc;
use std::time::SystemTime;

use portcullis_admin::{
    Certificates, Handles, Lifecycle, MetricsFormat, Records, Refusal, StatusView, TargetChange,
    TargetView, Waiting,
};
use portcullis_certs::Store;
use tokio::sync::watch;

use crate::config::Config;
use crate::crowd::Crowd;
use crate::listener::Gate;
use crate::logging::Logging;
use crate::metrics::{Facts, Metrics};
use crate::phase::{Life, Phase};
use crate::records::{Drops, Ring, audit};
use crate::upstream::{Dialer, Targets};
use crate::worker::Shared;

pub(crate) use teller::Teller;

/// Everything that lives as long as the process.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) config: Arc<Config>,
    pub(crate) life: Arc<Life>,
    pub(crate) certificates: Arc<Store>,
    pub(crate) targets: Arc<Targets>,
    pub(crate) metrics: Arc<Metrics>,
    ring: Arc<Ring>,
    started: SystemTime,
}

impl House {
    pub(crate) fn new(
        config: &Config,
        life: Arc<Life>,
        certificates: Arc<Store>,
        targets: Arc<Targets>,
        logging: &Logging,
    ) -> Self {
        let started = SystemTime::now();
        let metrics = {
            let (certificates, targets, drops) = (
                Arc::clone(&certificates),
                Arc::clone(&targets),
                logging.drops(),
            );
            Metrics::new(move || facts(&certificates, &targets, &drops, started))
        };
        let config = Arc::new(config.clone());
        Self {
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
            dialer: Dialer::new(self.targets.own(), self.config.limits.clone()),
            metrics: Arc::clone(&self.metrics),
            life: Arc::clone(&self.life),
            gate,
            crowd: Crowd::new(self.config.limits.max_connections_per_client),
            handshakes: Arc::default(),
            generations,
        }
    }

    pub(crate) fn handles(&self) -> Handles {
        let this = Arc::new(self.clone());
        Handles {
            lifecycle: this.clone(),
            records: this.clone(),
            targets: this.clone(),
            certificates: this.clone(),
            metrics: this,
        }
    }
}

impl Lifecycle for House {
    fn pending(&self) -> Vec<String> {
        let mut pending = Vec::new();
        match self.life.phase() {
            Phase::Starting | Phase::Ready => {
                pending.extend(certificates::pending(&self.certificates));
            }
            Phase::Announcing | Phase::Finishing | Phase::Cutting | Phase::Stopped => {
                pending.push("draining".to_owned());
            }
        }
        pending
    }

    fn status(&self) -> StatusView {
        let pending = self.pending();
        let (totals, [handshaking, open, idle, upstream_idle]) = self.metrics.totals();
        let requests: u64 = totals.requests.values().sum();
        let failed = totals
            .requests
            .iter()
            .filter(|((_, _, reason), _)| !reason.is_empty())
            .map(|(_, count)| count);
        StatusView {
            version: env!("CARGO_PKG_VERSION"),
            service: self.config.service_name.clone(),
            phase: self.life.phase().word(),
            ready: pending.is_empty(),
            pending,
            degraded: certificates::degraded(&self.certificates),
            uptime_s: self.started.elapsed().unwrap_or_default().as_secs(),
            workers: self.config.workers,
            target: portcullis_admin::Targets::current(self),
            certificate: self.view().into(),
            counts: serde_json::json!({
                "requests": requests,
                "requests_failed": failed.sum::<u64>(),
                "request_bytes": totals.bytes_in,
                "response_bytes": totals.bytes_out,
                "handshakes": totals.handshakes.values().sum::<u64>(),
                "connections": { "handshake": handshaking, "open": open, "idle": idle },
                "upstream_connections_idle": upstream_idle,
            }),
        }
    }
}

impl Records for House {
    fn recent(&self) -> Vec<Arc<[u8]>> {
        self.ring.recent()
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

impl portcullis_admin::Targets for House {
    fn current(&self) -> TargetView {
        let (current, configured) = (self.targets.current(), self.targets.configured());
        TargetView {
            url: current.url.to_string(),
            configured: configured.to_string(),
            drift: current.url != *configured,
            answers_at: current.answers_at().map(|address| address.to_string()),
        }
    }

    fn change(&self, change: TargetChange) -> Waiting<'_, Result<TargetView, Refusal>> {
        Box::pin(async move {
            let service = &self.config.service_name;
            let before = self.targets.current();
            match self.targets.change(&change.url, change.probe).await {
                Ok(target) => {
                    let detail = format!("{} -> {}", before.url, target.url);
                    tracing::info!(from = %before.url, to = %target.url, "target changed");
                    audit(service, "target_change", "done", "", &detail);
                    Ok(portcullis_admin::Targets::current(self))
                }
                Err(refused) => {
                    let (reason, detail) = (refused.0, refused.1);
                    audit(service, "target_change", "refused", reason, &detail);
                    Err(Refusal { reason, detail })
                }
            }
        })
    }
}

fn facts(store: &Store, targets: &Targets, drops: &Drops, started: SystemTime) -> Facts {
    Facts {
        parts: certificates::facts(store),
        generation: store.current().number,
        target_drift: targets.current().url != *targets.configured(),
        log_dropped: drops.count(),
        started: Some(started),
    }
}
