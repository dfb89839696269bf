//! The sidecar at a glance: where it is in its life, and the numbers that matter.

use std::collections::BTreeMap;
use std::time::Instant;

use portcullis_admin::{
    Caller, Certificates, Connections, Counts, DrainView, Latency, Lifecycle, LogDropped,
    PhaseView, RestrictionView, StatusView, UpstreamConnections,
};

use super::traces::untaken;
use super::{House, certificates};
use crate::census::Tally;
use crate::drain::Drained;
use crate::metrics::Totals;
use crate::phase::Phase;
use crate::restrict::Restriction;

impl Lifecycle for House {
    fn pending(&self) -> Vec<String> {
        let mut pending = Vec::new();
        match self.life.phase() {
            Phase::Starting | Phase::Ready => {
                pending.extend(certificates::pending(&self.certificates));
                pending.extend(self.doubt());
            }
            Phase::Announcing | Phase::Finishing | Phase::Cutting => {
                pending.push("draining".to_owned());
            }
            Phase::Stopped => pending.push("drained".to_owned()),
        }
        pending
    }

    fn status(&self) -> StatusView {
        let pending = self.pending();
        let mut degraded = certificates::degraded(self);
        degraded.extend(self.exposed());
        let traces = self.traces();
        degraded.extend(traces.as_ref().and_then(untaken));
        StatusView {
            version: env!("CARGO_PKG_VERSION"),
            service: self.config.service_name.clone(),
            phase: self.life.phase().word(),
            ready: pending.is_empty(),
            drain: self.drain_view(),
            cut: self.life.drained().map(Drained::cut),
            pending,
            degraded,
            restrictions: self.restrictions.iter().map(restriction).collect(),
            uptime_s: self.started.elapsed().unwrap_or_default().as_secs(),
            workers: self.config.workers,
            target: portcullis_admin::Targets::current(self),
            bypass: self.bypass(),
            certificate: self.view().into(),
            traces,
            counts: self.counts(),
        }
    }

    fn drain(&self, caller: &Caller) -> PhaseView {
        let phase = self.life.phase();
        if phase < Phase::Announcing {
            self.audit(
                "drain",
                "begun",
                "",
                "asked for by the admin plane",
                Some(caller),
            );
            self.drain.notify_one();
        }
        // The control thread is about to say so, too.
        let phase = phase.max(Phase::Announcing);
        PhaseView {
            phase: phase.word(),
        }
    }
}

impl House {
    fn drain_view(&self) -> Option<DrainView> {
        let step = self.life.phase().step()?;
        let left = self.life.cutting_at();
        let left = left.map(|at| at.saturating_duration_since(Instant::now()));
        let drained = self.life.drained();
        let by_kind = |tally: &Tally| tally.each().collect::<BTreeMap<_, _>>();
        Some(DrainView {
            step,
            seconds_left: match drained {
                None => left.unwrap_or_default().as_secs(),
                Some(_) => 0,
            },
            drained: drained.map(|drained| by_kind(&drained.ends.drained)),
            cut: drained.map(|drained| by_kind(&drained.ends.cut)),
        })
    }

    fn counts(&self) -> Counts {
        let (totals, now) = self.metrics.totals();
        let failed = failed(&totals);
        let quantile = |share| {
            let duration = totals.duration.quantile(share);
            duration.map(|duration| (duration.as_secs_f64() * 10_000.0).round() / 10.0)
        };
        let handshakes_failed = totals
            .handshakes
            .iter()
            .filter(|(key, _)| key.0 == "failed");
        let dropped = self.log.dropped();
        Counts {
            requests: totals.requests.values().sum(),
            requests_failed: failed.values().sum(),
            failed_by_reason: failed,
            in_flight: now.in_flight,
            latency_ms: Latency {
                p50: quantile(0.5),
                p90: quantile(0.9),
                p99: quantile(0.99),
            },
            request_bytes: totals.bytes_in,
            response_bytes: totals.bytes_out,
            handshakes: totals.handshakes.values().sum(),
            handshakes_failed: handshakes_failed.map(|(_, count)| count).sum(),
            connections: Connections {
                handshake: now.handshaking,
                open: now.open,
                idle: now.idle,
            },
            upstream_connections: UpstreamConnections {
                active: now.upstream_active(self.dialer.open()),
                idle: now.upstream_idle,
            },
            log_dropped: LogDropped {
                success: dropped.success,
                error: dropped.error,
                audit: dropped.audit,
            },
            log_sampled_out: self.log.sampled_out(),
        }
    }
}

fn restriction(restriction: &Restriction) -> RestrictionView {
    RestrictionView {
        name: restriction.name,
        state: restriction.state.word(),
        detail: restriction.detail.clone(),
    }
}

/// Exchanges that failed, by the word for why.
fn failed(totals: &Totals) -> BTreeMap<&'static str, u64> {
    let mut failed = BTreeMap::new();
    for ((_, _, reason), count) in &totals.requests {
        if let Some(reason) = reason {
            *failed.entry(reason.word()).or_default() += count;
        }
    }
    failed
}
