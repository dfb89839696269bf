//! What the metrics say at one moment, and what lies between two of them.

use std::collections::BTreeMap;

use super::super::exposition;

/// What only grows while the sidecar runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counters {
    /// Exchanges by the first digit of their status; those without one come first.
    pub(super) classes: [f64; 6],
    /// Exchanges that failed, by the word for why.
    pub(super) failures: BTreeMap<String, f64>,
    /// How long exchanges took.
    pub(super) took: Buckets,
    /// How long the application took.
    pub(super) app: Buckets,
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
    pub(super) handshakes: f64,
    pub(super) handshakes_failed: f64,
    pub(super) handshakes_resumed: f64,
    pub(super) retries: f64,
    /// Connections closed at accept.
    pub(super) refused: f64,
    /// Record lines that were not written.
    pub(super) dropped: f64,
    pub(super) panics: f64,
}

/// What is now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Gauges {
    pub(super) active: f64,
    pub(super) idle: f64,
    pub(super) handshaking: f64,
    pub(super) app_active: f64,
    pub(super) app_idle: f64,
    pub(super) in_flight: f64,
    /// When the process started, since the epoch; 0 where that is not known.
    pub(super) started: f64,
}

/// Reads a scrape.
pub(super) fn read(text: &str) -> (Counters, Gauges) {
    let (mut counters, mut gauges) = (Counters::default(), Gauges::default());
    for metric in exposition::parse(text) {
        let Some(name) = metric.name.strip_prefix("portcullis_") else {
            if metric.name == "process_start_time_seconds" {
                gauges.started = metric.value;
            }
            continue;
        };
        let label = |name| metric.label(name);
        match name {
            "requests_total" => counters.exchanges(label("code"), label("reason"), metric.value),
            "request_duration_seconds_bucket" => counters.took.push(label("le"), metric.value),
            "upstream_duration_seconds_bucket" => counters.app.push(label("le"), metric.value),
            "handshakes_total" => {
                counters.handshake(label("result"), label("resumed"), metric.value);
            }
            "connections" | "upstream_connections" | "requests_in_flight" => {
                gauges.take(name, label("state"), metric.value);
            }
            _ => counters.take(name, metric.value),
        }
    }
    (counters, gauges)
}

impl Counters {
    fn exchanges(&mut self, code: &str, reason: &str, count: f64) {
        let class = code.chars().next().and_then(|digit| digit.to_digit(10));
        let class = class.and_then(|digit| self.classes.get_mut(digit as usize));
        match class {
            Some(class) => *class += count,
            None => self.classes[0] += count,
        }
        if !reason.is_empty() {
            *self.failures.entry(reason.to_owned()).or_default() += count;
        }
    }

    fn handshake(&mut self, result: &str, resumed: &str, count: f64) {
        self.handshakes += count;
        if result != "ok" {
            self.handshakes_failed += count;
        }
        if resumed == "true" {
            self.handshakes_resumed += count;
        }
    }

    fn take(&mut self, name: &str, count: f64) {
        let sum = match name {
            "request_bytes_total" => &mut self.bytes_in,
            "response_bytes_total" => &mut self.bytes_out,
            "upstream_retries_total" => &mut self.retries,
            "connections_refused_total" | "connections_not_allowed_total" => &mut self.refused,
            "log_dropped_total" => &mut self.dropped,
            "panics_total" => &mut self.panics,
            _ => return,
        };
        *sum += count;
    }

    /// Exchanges.
    pub(super) fn requests(&self) -> f64 {
        self.classes.iter().sum()
    }

    /// Whether these cannot come after those: another process counts.
    pub(super) fn are_behind(&self, earlier: &Self) -> bool {
        self.requests() < earlier.requests()
            || self.handshakes < earlier.handshakes
            || self.bytes_out < earlier.bytes_out
    }

    /// What came since. Nothing went back, also where one number did.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let more = |now: f64, before: f64| (now - before).max(0.0);
        let mut classes = self.classes;
        for (now, before) in classes.iter_mut().zip(earlier.classes) {
            *now = more(*now, before);
        }
        let failures = self.failures.iter().map(|(reason, count)| {
            let before = earlier.failures.get(reason).copied().unwrap_or_default();
            (reason.clone(), more(*count, before))
        });
        Self {
            classes,
            failures: failures.collect(),
            took: self.took.since(&earlier.took),
            app: self.app.since(&earlier.app),
            bytes_in: more(self.bytes_in, earlier.bytes_in),
            bytes_out: more(self.bytes_out, earlier.bytes_out),
            handshakes: more(self.handshakes, earlier.handshakes),
            handshakes_failed: more(self.handshakes_failed, earlier.handshakes_failed),
            handshakes_resumed: more(self.handshakes_resumed, earlier.handshakes_resumed),
            retries: more(self.retries, earlier.retries),
            refused: more(self.refused, earlier.refused),
            dropped: more(self.dropped, earlier.dropped),
            panics: more(self.panics, earlier.panics),
        }
    }
}

impl Gauges {
    fn take(&mut self, name: &str, state: &str, value: f64) {
        let now = match (name, state) {
            ("connections", "active") => &mut self.active,
            ("connections", "idle") => &mut self.idle,
            ("connections", "handshake") => &mut self.handshaking,
            ("upstream_connections", "active") => &mut self.app_active,
            ("upstream_connections", "idle") => &mut self.app_idle,
            ("requests_in_flight", _) => &mut self.in_flight,
            _ => return,
        };
        *now = value;
    }
}

/// A histogram: upper bounds, and how many were observed up to each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    fn push(&mut self, bound: &str, count: f64) {
        if let Ok(bound) = bound.parse() {
            self.0.push((bound, count));
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| {
            let mut known = earlier.0.iter();
            known.find(|(known, _)| *known == bound)
        };
        let more = self.0.iter().map(|(bound, count)| {
            let before = before(*bound).map_or(0.0, |(_, count)| *count);
            (*bound, (count - before).max(0.0))
        });
        Self(more.collect())
    }

    /// The seconds below which this share of the observations lies, as well as the buckets tell; none before the first.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.0.last().map_or(0.0, |(_, count)| *count);
        if all <= 0.0 {
            return None;
        }
        let wanted = share * all;
        let (mut from, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            let within = count - below;
            if within > 0.0 && *count >= wanted {
                // Of what is above all bounds, nothing else is known.
                let to = if bound.is_finite() { *bound } else { from };
                return Some(from + (to - from) * (wanted - below) / within);
            }
            (from, below) = (*bound, *count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
# TYPE portcullis_requests_total counter
portcullis_requests_total{method="GET",code="200",reason=""} 100
portcullis_requests_total{method="GET",code="502",reason="upstream_refused"} 1
portcullis_requests_total{method="GET",code="none",reason="client_gone"} 2
portcullis_request_duration_seconds_bucket{le="0.001"} 50
portcullis_request_duration_seconds_bucket{le="0.01"} 103
portcullis_request_duration_seconds_bucket{le="+Inf"} 103
portcullis_response_bytes_total 1000
portcullis_connections{state="active"} 3
portcullis_connections{state="idle"} 4
portcullis_upstream_connections{state="idle"} 5
portcullis_requests_in_flight 6
portcullis_handshakes_total{result="ok",reason="",version="1.3",resumed="true"} 7
portcullis_handshakes_total{result="failed",reason="no_sni",version="",resumed="false"} 1
portcullis_log_dropped_total{class="success"} 2
portcullis_log_dropped_total{class="error"} 3
process_start_time_seconds 1700000000
odd{ 1
"#;

    #[test]
    fn a_scrape_says_what_was_counted_and_what_is_now() {
        let (counters, gauges) = read(BEFORE);
        assert_eq!(counters.classes, [2.0, 0.0, 100.0, 0.0, 0.0, 1.0]);
        assert_eq!(counters.requests(), 103.0);
        assert_eq!(counters.failures["client_gone"], 2.0);
        assert_eq!(
            (counters.handshakes, counters.handshakes_failed),
            (8.0, 1.0)
        );
        assert_eq!((counters.handshakes_resumed, counters.dropped), (7.0, 5.0));
        let now = (
            gauges.active,
            gauges.idle,
            gauges.app_idle,
            gauges.in_flight,
        );
        assert_eq!(now, (3.0, 4.0, 5.0, 6.0));
        assert_eq!(gauges.started, 1_700_000_000.0);
    }

    #[test]
    fn a_difference_is_what_came_since_and_never_less_than_nothing() {
        let (before, _) = read(BEFORE);
        let text = BEFORE
            .replace("reason=\"\"} 100", "reason=\"\"} 300")
            .replace("le=\"+Inf\"} 103", "le=\"+Inf\"} 203")
            .replace("le=\"0.01\"} 103", "le=\"0.01\"} 193");
        let (after, _) = read(&text);
        let more = after.since(&before);
        assert_eq!(more.classes, [0.0, 0.0, 200.0, 0.0, 0.0, 0.0]);
        assert_eq!(more.failures["client_gone"], 0.0);
        assert!(!after.are_behind(&before) && before.are_behind(&after));
        let back = before.since(&after);
        assert_eq!(back.requests(), 0.0);
        // Ninety of the last hundred took between 1 and 10 ms, ten more than that.
        let middle = more.took.quantile(0.45).unwrap();
        assert!((middle - 0.0055).abs() < 1e-9, "{middle}");
        assert_eq!(more.took.quantile(0.99), Some(0.01));
    }

    #[test]
    fn of_nothing_there_is_no_quantile() {
        assert_eq!(Buckets::default().quantile(0.5), None);
        let (counters, _) = read(BEFORE);
        assert_eq!(counters.since(&counters).took.quantile(0.5), None);
    }
}
