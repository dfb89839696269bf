//! A histogram of durations, and the traces that stand for its buckets.

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime};

/// Counts of durations in [`BUCKETS`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// Observations in each bucket, not cumulative; the last is everything above.
    pub(super) counts: [u64; BUCKETS.len() + 1],
    /// Sum of all observations.
    pub(super) sum: Duration,
}

/// The last trace that fell into each bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exemplars(pub(super) [Option<Exemplar>; BUCKETS.len() + 1]);

/// An observation, and the trace that shows how it came about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exemplar {
    /// 32 hex digits.
    pub(super) trace_id: [u8; 32],
    pub(super) duration: Duration,
    pub(super) at: SystemTime,
}

impl Histogram {
    pub(super) fn observe(&mut self, duration: Duration) {
        self.counts[bucket(duration)] += 1;
        self.sum += duration;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.sum += other.sum;
    }

    /// Below which this share of the observations lies, as well as the buckets tell; none before the first.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let count: u64 = self.counts.iter().sum();
        let wanted = share * count as f64;
        let mut below = 0.0;
        for (bucket, count) in self.counts.iter().enumerate() {
            let count = *count as f64;
            if count > 0.0 && below + count >= wanted {
                let from = bucket.checked_sub(1).map_or(0.0, |last| BUCKETS[last]);
                // Of what is above all bounds, nothing else is known.
                let to = BUCKETS.get(bucket).copied().unwrap_or(from);
                let part = (wanted - below) / count;
                return Some(Duration::from_secs_f64(from + (to - from) * part));
            }
            below += count;
        }
        None
    }
}

impl Exemplars {
    pub(super) fn note(&mut self, duration: Duration, trace_id: &str) {
        let Ok(trace_id) = trace_id.as_bytes().try_into() else {
            return;
        };
        self.0[bucket(duration)] = Some(Exemplar {
            trace_id,
            duration,
            at: SystemTime::now(),
        });
    }

    /// Keeps the newer ones.
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, other) in self.0.iter_mut().zip(other.0) {
            let at = |exemplar: &Option<Exemplar>| exemplar.map(|exemplar| exemplar.at);
            if at(&other) > at(mine) {
                *mine = other;
            }
        }
    }

    /// The text of all samples with these exemplars at the buckets of `portcullis_request_duration_seconds`.
    pub(super) fn beside(&self, samples: &str) -> String {
        let mut out = String::with_capacity(samples.len() + 15 * 100);
        let mut exemplars = self.0.iter();
        for line in samples.lines() {
            out.push_str(line);
            let is_bucket = line.starts_with("portcullis_request_duration_seconds_bucket{");
            if is_bucket && let Some(Some(exemplar)) = exemplars.next() {
                // Writing to a String cannot fail.
                let _ = write!(out, " # {exemplar}");
            }
            out.push('\n');
        }
        out
    }
}

impl fmt::Display for Exemplar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace_id = std::str::from_utf8(&self.trace_id).unwrap_or_default();
        let at = self.at.duration_since(SystemTime::UNIX_EPOCH);
        let (duration, at) = (
            self.duration.as_secs_f64(),
            at.unwrap_or_default().as_secs_f64(),
        );
        write!(f, "{{trace_id=\"{trace_id}\"}} {duration} {at:.3}")
    }
}

/// All bounds are compared, without a branch: there are few, and a search would wait for each.
fn bucket(duration: Duration) -> usize {
    const MICROS: [u64; BUCKETS.len()] = {
        let mut micros = [0; BUCKETS.len()];
        let mut at = 0;
        while at < BUCKETS.len() {
            micros[at] = (BUCKETS[at] * 1e6) as u64;
            at += 1;
        }
        micros
    };
    // What is not a whole microsecond lies above the bound.
    let micros = duration.as_nanos().div_ceil(1000) as u64;
    MICROS
        .iter()
        .map(|bound| usize::from(*bound < micros))
        .sum()
}

/// Upper bounds in seconds.
pub(super) const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for millis in 1..=100 {
            histogram.observe(Duration::from_millis(millis));
        }
        let millis = |share| histogram.quantile(share).unwrap().as_millis();
        assert_eq!((millis(0.5), millis(0.9), millis(1.0)), (50, 90, 100));
        histogram.observe(Duration::from_secs(3600));
        assert_eq!(histogram.quantile(1.0), Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        for (number, bound) in BUCKETS.into_iter().enumerate() {
            let bound = Duration::from_secs_f64(bound);
            assert_eq!(bucket(bound), number);
            assert_eq!(bucket(bound + Duration::from_nanos(1)), number + 1);
        }
        assert_eq!(bucket(Duration::ZERO), 0);
    }

    #[test]
    fn the_newest_trace_stands_for_its_bucket() {
        let (mut one, mut other) = (Exemplars::default(), Exemplars::default());
        one.note(Duration::from_millis(3), &"a".repeat(32));
        other.note(Duration::from_millis(4), &"b".repeat(32));
        other.note(Duration::from_millis(30), &"c".repeat(32));
        one.add(&other);
        let traces: Vec<_> = one.0.iter().flatten().map(|one| one.trace_id[0]).collect();
        assert_eq!(traces, [b'b', b'c']);
        assert!(one.0[3].is_some());
    }
}
