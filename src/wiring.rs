//! The only file that sees both the rooms and the house: it gives `admin` the small traits it asks for, and tells the
//! records what the certificate store did.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_admin::{
    AttemptView, Certificates, CertificatesView, ChainElement, Handles, Lifecycle, MetricsFormat,
    Records, Refusal, StatusView, TargetChange, TargetView, Waiting,
};
use portcullis_certs::{
    Attempt, Facts as CertificateFacts, Generation, Outcome, Source, Store, Trigger,
};

use crate::config::Config;
use crate::listener::Gate;
use crate::logging::Logging;
use crate::metrics::{Facts, Metrics};
use crate::phase::{Life, Phase};
use crate::records::{Drops, Ring, audit};
use crate::upstream::Targets;
use crate::worker::Shared;

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

    pub(crate) fn shared(&self, gate: Gate) -> Shared {
        Shared {
            config: Arc::clone(&self.config),
            certificates: Arc::clone(&self.certificates),
            targets: Arc::clone(&self.targets),
            metrics: Arc::clone(&self.metrics),
            life: Arc::clone(&self.life),
            gate,
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

    fn attempt_view(&self, attempt: &Attempt) -> AttemptView {
        let current = self.certificates.current();
        let (reason, error) = match &attempt.outcome {
            Outcome::Failed(error) => (Some(error.reason()), Some(error.to_string())),
            Outcome::Published(_) | Outcome::Unchanged => (None, None),
        };
        AttemptView {
            time: rfc3339(attempt.at),
            trigger: attempt.trigger.word(),
            result: result(&attempt.outcome),
            reason,
            error,
            generation: current.number,
            old: attempt.old.clone(),
            new: fingerprint(&current),
        }
    }
}

impl Lifecycle for House {
    fn pending(&self) -> Vec<String> {
        let mut pending = Vec::new();
        match self.life.phase() {
            Phase::Starting | Phase::Ready if self.certificates.current().bundle.is_none() => {
                let why = self
                    .certificates
                    .last_attempt()
                    .map(|attempt| attempt.outcome);
                pending.push(match why {
                    Some(Outcome::Failed(error)) => format!("no certificate yet: {error}"),
                    _ => "no certificate yet".to_owned(),
                });
            }
            Phase::Starting | Phase::Ready => {}
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
            uptime_s: self.started.elapsed().unwrap_or_default().as_secs(),
            workers: self.config.workers,
            target: portcullis_admin::Targets::current(self),
            certificate: self.view(),
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

impl Certificates for House {
    fn view(&self) -> CertificatesView {
        let current = self.certificates.current();
        let bundle = current.bundle.as_ref();
        let last = self
            .certificates
            .last_attempt()
            .map(|attempt| self.attempt_view(&attempt));
        CertificatesView {
            source: describe(self.certificates.source()),
            generation: current.number,
            chain: bundle
                .map(|bundle| bundle.chain.iter().map(element).collect())
                .unwrap_or_default(),
            warnings: bundle
                .map(|bundle| bundle.warnings(SystemTime::now().into()))
                .unwrap_or_default(),
            last_error: last.as_ref().and_then(|attempt| attempt.error.clone()),
            last_attempt: last,
            last_success: self.certificates.last_success().map(rfc3339),
        }
    }

    fn reload(&self) -> Waiting<'_, AttemptView> {
        Box::pin(async move {
            let store = Arc::clone(&self.certificates);
            let reload = tokio::task::spawn_blocking(move || store.reload(Trigger::Admin));
            match reload.await {
                Ok(attempt) => self.attempt_view(&attempt),
                Err(error) => AttemptView {
                    time: rfc3339(SystemTime::now()),
                    trigger: Trigger::Admin.word(),
                    result: "failed",
                    reason: Some("internal"),
                    error: Some(error.to_string()),
                    generation: self.certificates.current().number,
                    old: None,
                    new: None,
                },
            }
        })
    }
}

/// Tells everybody of an attempt: the own log loudly, the records as an audit, and readiness on the first success.
pub(crate) fn certificate_observer(
    service: String,
    life: Arc<Life>,
) -> impl Fn(&Attempt) + Send + Sync {
    move |attempt| {
        let trigger = attempt.trigger.word();
        match &attempt.outcome {
            Outcome::Published(generation) => {
                let (number, leaf) = (
                    generation.number,
                    generation
                        .bundle
                        .as_ref()
                        .map(portcullis_certs::Bundle::leaf),
                );
                if let Some(leaf) = leaf {
                    tracing::info!(
                        generation = number, trigger, subject = %leaf.subject, names = ?leaf.names,
                        not_after = %leaf.not_after, sha256 = %leaf.sha256, "certificate served from now on"
                    );
                }
                for warning in attempt.warnings() {
                    tracing::warn!(generation = number, "{warning}");
                }
                let detail = format!(
                    "generation {number}, {} -> {}",
                    attempt.old.as_deref().unwrap_or("none"),
                    fingerprint(generation).as_deref().unwrap_or("none")
                );
                audit(&service, "certificate_reload", "published", "", &detail);
                life.advance(Phase::Ready);
            }
            Outcome::Unchanged => tracing::debug!(trigger, "certificate unchanged"),
            Outcome::Failed(error) if attempt.repeated => {
                tracing::debug!(trigger, %error, "certificate still not loaded")
            }
            Outcome::Failed(error) => {
                let kept = attempt
                    .old
                    .as_deref()
                    .map_or("none is served", |_| "the old one is still served");
                tracing::error!(trigger, %error, "certificate not loaded, {kept}");
                audit(
                    &service,
                    "certificate_reload",
                    "failed",
                    error.reason(),
                    &error.to_string(),
                );
            }
        }
    }
}

fn facts(certificates: &Store, targets: &Targets, drops: &Drops, started: SystemTime) -> Facts {
    let current = certificates.current();
    let chain = current
        .bundle
        .as_ref()
        .map(|bundle| bundle.chain.as_slice())
        .unwrap_or_default();
    let counts = certificates.counts();
    let not_after = chain
        .iter()
        .zip(std::iter::once("leaf").chain(std::iter::repeat("intermediate")))
        .map(|(facts, element)| (element, facts.not_after.unix_timestamp()));
    Facts {
        // One series for all intermediates: the first to expire is the one that matters.
        not_after: earliest(not_after),
        generation: current.number,
        reloads: vec![("published", counts.published), ("failed", counts.failed)],
        last_success: certificates.last_success(),
        target_drift: targets.current().url != *targets.configured(),
        log_dropped: drops.count(),
        started: Some(started),
    }
}

fn earliest(dates: impl Iterator<Item = (&'static str, i64)>) -> Vec<(&'static str, i64)> {
    let mut by_element: Vec<(&'static str, i64)> = Vec::new();
    for (element, at) in dates {
        match by_element.iter_mut().find(|(known, _)| *known == element) {
            Some((_, first)) => *first = at.min(*first),
            None => by_element.push((element, at)),
        }
    }
    by_element
}

fn element(facts: &CertificateFacts) -> ChainElement {
    let date = |at: time::OffsetDateTime| rfc3339(SystemTime::from(at));
    ChainElement {
        subject: facts.subject.clone(),
        issuer: facts.issuer.clone(),
        names: facts.names.clone(),
        serial: facts.serial.clone(),
        sha256: facts.sha256.clone(),
        not_before: date(facts.not_before),
        not_after: date(facts.not_after),
    }
}

fn fingerprint(generation: &Generation) -> Option<String> {
    generation
        .bundle
        .as_ref()
        .map(|bundle| bundle.leaf().sha256.clone())
}

fn result(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Published(_) => "published",
        Outcome::Unchanged => "unchanged",
        Outcome::Failed(_) => "failed",
    }
}

fn describe(source: &Source) -> String {
    match source {
        Source::Directory(folder) => folder.display().to_string(),
        Source::Files { certificate, key } => {
            format!("{} and {}", certificate.display(), key.display())
        }
    }
}

fn rfc3339(at: SystemTime) -> String {
    // Certificates may carry dates before 1970, which this formatter refuses.
    let at = at.max(SystemTime::UNIX_EPOCH + Duration::ZERO);
    humantime::format_rfc3339_millis(at).to_string()
}
