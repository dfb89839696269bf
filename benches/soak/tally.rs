//! What is counted, and what went wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::plan::{Kind, Plan, Wire};
use crate::verdict::{Ending, Outcome};

#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) requests: BTreeMap<(Wire, Kind), BTreeMap<Ending, u64>>,
    pub(crate) latencies: Latencies,
    /// Records of each kind.
    pub(crate) exchanges: u64,
    pub(crate) handshakes: u64,
    pub(crate) audits: u64,
    /// Records of clients that left before their request had a number, by reason.
    pub(crate) nameless: BTreeMap<String, u64>,
    /// Everything else, by its name.
    pub(crate) events: BTreeMap<&'static str, u64>,
    pub(crate) violations: Vec<String>,
    pub(crate) violation_count: u64,
}

impl Tally {
    pub(crate) fn settled(&mut self, plan: &Plan, ending: Ending, outcome: &Outcome) {
        let row = self.requests.entry((plan.wire, plan.kind)).or_default();
        *row.entry(ending).or_default() += 1;
        if let Outcome::Whole { took, .. } = outcome
            && plan.pause_ms == 0
            && plan.kind == Kind::Get
        {
            self.latencies.add(*took);
        }
    }

    pub(crate) fn nameless(&mut self, reason: &str) {
        *self.nameless.entry(reason.to_owned()).or_default() += 1;
    }

    pub(crate) fn happened(&mut self, what: &'static str) {
        *self.events.entry(what).or_default() += 1;
    }

    pub(crate) fn violated(&mut self, what: String) {
        self.violation_count += 1;
        if self.violations.len() < MOST_TOLD {
            self.violations.push(what);
        }
    }

    /// All requests that were judged and found right.
    pub(crate) fn total(&self) -> u64 {
        self.requests.values().flat_map(BTreeMap::values).sum()
    }
}

/// Counts in steps of a few per cent, so that their number does not grow.
pub(crate) struct Latencies([u64; 512]);

impl Default for Latencies {
    fn default() -> Self {
        Self([0; 512])
    }
}

impl Latencies {
    fn add(&mut self, took: Duration) {
        let step = (took.as_secs_f64() * 1e6).max(1.0).log2() * STEPS;
        self.0[(step as usize).min(self.0.len() - 1)] += 1;
    }

    /// Milliseconds below which this share lies.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let all: u64 = self.0.iter().sum();
        let mut left = all as f64 * share;
        for (step, count) in self.0.iter().enumerate() {
            left -= *count as f64;
            if left < 0.0 {
                return ((step + 1) as f64 / STEPS).exp2() / 1e3;
            }
        }
        0.0
    }
}

/// Steps for each doubling.
const STEPS: f64 = 16.0;
/// The first are worth reading; the rest is a number.
const MOST_TOLD: usize = 40;
