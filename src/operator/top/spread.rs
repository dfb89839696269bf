//! How durations are spread: counts in buckets that grow by a fifth, small enough to keep one for each path.

/// Durations, counted.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    counts: [u32; BUCKETS],
    longest: f64,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            longest: 0.0,
        }
    }
}

impl Spread {
    /// Counts a duration in milliseconds.
    pub(super) fn observe(&mut self, ms: f64) {
        let steps = (ms / SHORTEST).log2() * STEPS;
        // What is below the first bound, and no number, becomes 0.
        let bucket = (steps.ceil() as usize).min(BUCKETS - 1);
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
        self.longest = self.longest.max(ms);
    }

    /// Adds what another one has counted.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum = sum.saturating_add(count);
        }
        self.longest = self.longest.max(other.longest);
    }

    /// About how many milliseconds this share did not exceed; none before the first.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        let wanted = (share * all as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += u64::from(*count);
            if below >= wanted && all > 0 {
                let bound = SHORTEST * 2_f64.powf(bucket as f64 / STEPS);
                return Some(bound.min(self.longest));
            }
        }
        None
    }
}

const BUCKETS: usize = 96;
/// Buckets from a duration to its double.
const STEPS: f64 = 4.0;
/// Milliseconds. The last bucket begins above five minutes.
const SHORTEST: f64 = 0.025;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_a_fifth() {
        let mut spread = Spread::default();
        assert_eq!(spread.quantile(0.5), None);
        for ms in 1..=1000 {
            spread.observe(f64::from(ms));
        }
        for (share, wanted) in [(0.5, 500.0), (0.95, 950.0), (1.0, 1000.0)] {
            let got = spread.quantile(share).unwrap();
            assert!((wanted..=wanted * 1.2).contains(&got), "{share}: {got}");
        }
    }

    #[test]
    fn every_number_has_its_place() {
        let mut spread = Spread::default();
        for ms in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            spread.observe(ms);
        }
        let mut one = Spread::default();
        one.observe(3.0);
        assert_eq!(one.quantile(0.5), Some(3.0));
        one.add(&spread);
        assert!(one.quantile(1.0).unwrap() > 1e5);
    }
}
