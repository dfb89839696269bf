//! What was asked for most, or who asked most: a row for each key, for so many keys and no more.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use super::spread::Spread;

/// Rows by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    rows: HashMap<String, Row>,
    /// All keys that had to make room.
    others: Row,
    /// How long each of the last intervals was.
    spans: [Duration; INTERVALS],
    /// The interval that goes on.
    now: usize,
}

/// What one key came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) took: Spread,
    recent: [u32; INTERVALS],
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// The most requests now, then before.
    #[default]
    Requests,
    /// The most errors.
    Errors,
    /// What takes longest.
    Slowest,
}

/// A row to show.
#[derive(Clone, Debug)]
pub(super) struct Ranked<'a> {
    /// None stands for all others together.
    pub(super) key: Option<&'a str>,
    pub(super) row: &'a Row,
    /// Requests a second.
    pub(super) rate: f64,
}

impl Tally {
    /// Counts an exchange.
    pub(super) fn count(&mut self, key: &str, is_error: bool, ms: f64) {
        let key = shortened(key);
        if !self.rows.contains_key(key) {
            if self.rows.len() >= MOST {
                self.make_room();
            }
            self.rows.insert(key.to_owned(), Row::default());
        }
        if let Some(row) = self.rows.get_mut(key) {
            row.count(self.now, is_error, ms);
        }
    }

    /// An interval is over, and the next begins.
    pub(super) fn tick(&mut self, took: Duration) {
        self.spans[self.now] = took;
        self.now = (self.now + 1) % INTERVALS;
        self.spans[self.now] = Duration::ZERO;
        let rows = self.rows.values_mut().chain([&mut self.others]);
        rows.for_each(|row| row.recent[self.now] = 0);
    }

    /// All rows, the first of this order first. Those that had to make room come last.
    pub(super) fn ranked(&self, order: Order) -> Vec<Ranked<'_>> {
        let mut ranked: Vec<_> = self
            .rows
            .iter()
            .map(|(key, row)| self.rank(Some(key), row))
            .collect();
        ranked.sort_by(|a, b| {
            let by_order = order.compare(b, a);
            by_order.then(a.key.cmp(&b.key))
        });
        if self.others.requests > 0 {
            ranked.push(self.rank(None, &self.others));
        }
        ranked
    }

    fn rank<'a>(&self, key: Option<&'a str>, row: &'a Row) -> Ranked<'a> {
        let seconds: f64 = self.spans.iter().map(Duration::as_secs_f64).sum();
        let requests = row.recent() - u64::from(row.recent[self.now]);
        let rate = if seconds > 0.0 {
            requests as f64 / seconds
        } else {
            0.0
        };
        Ranked { key, row, rate }
    }

    /// Half of the rows go, those that are asked for least now, so that a new one always has a place.
    fn make_room(&mut self) {
        let mut by_weight: Vec<(u64, u64, String)> = self
            .rows
            .iter()
            .map(|(key, row)| (row.recent(), row.requests, key.clone()))
            .collect();
        by_weight.sort_unstable();
        by_weight.truncate(MOST / 2);
        for (_, _, key) in by_weight {
            if let Some(row) = self.rows.remove(&key) {
                self.others.add(&row);
            }
        }
    }
}

impl Row {
    fn count(&mut self, now: usize, is_error: bool, ms: f64) {
        self.requests += 1;
        self.errors += u64::from(is_error);
        self.recent[now] = self.recent[now].saturating_add(1);
        self.took.observe(ms);
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.took.add(&other.took);
        for (sum, count) in self.recent.iter_mut().zip(other.recent) {
            *sum = sum.saturating_add(count);
        }
    }

    fn recent(&self) -> u64 {
        self.recent.iter().map(|count| u64::from(*count)).sum()
    }

    /// The share of requests that were errors.
    pub(super) fn error_share(&self) -> f64 {
        self.errors as f64 / self.requests.max(1) as f64
    }
}

impl Order {
    /// The next one.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Requests => Self::Errors,
            Self::Errors => Self::Slowest,
            Self::Slowest => Self::Requests,
        }
    }

    /// How it is called.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Requests => "most requests",
            Self::Errors => "most errors",
            Self::Slowest => "slowest",
        }
    }

    fn compare(self, a: &Ranked<'_>, b: &Ranked<'_>) -> Ordering {
        let slow = |ranked: &Ranked<'_>| ranked.row.took.quantile(0.95).unwrap_or_default();
        let first = match self {
            Self::Requests => Ordering::Equal,
            Self::Errors => a.row.errors.cmp(&b.row.errors),
            Self::Slowest => slow(a).total_cmp(&slow(b)),
        };
        first
            .then(a.rate.total_cmp(&b.rate))
            .then(a.row.requests.cmp(&b.row.requests))
    }
}

/// A client may ask for a path as long as it likes.
fn shortened(key: &str) -> &str {
    &key[..key.floor_char_boundary(LONGEST)]
}

/// Keys kept apart.
const MOST: usize = 512;
/// Bytes of a key.
const LONGEST: usize = 256;
/// Intervals over which a rate is taken, and the one that goes on.
pub(super) const INTERVALS: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn keys(tally: &Tally, order: Order) -> Vec<Option<&str>> {
        let ranked = tally.ranked(order);
        ranked.into_iter().map(|ranked| ranked.key).collect()
    }

    #[test]
    fn rows_are_sorted_by_requests_errors_or_time() {
        let mut tally = Tally::default();
        for _ in 0..3 {
            tally.count("/many", false, 1.0);
        }
        for _ in 0..2 {
            tally.count("/broken", true, 2.0);
        }
        tally.count("/slow", false, 900.0);
        tally.tick(SECOND);
        let all = |names: [&'static str; 3]| names.map(Some).to_vec();
        for (order, wanted) in [
            (Order::Requests, ["/many", "/broken", "/slow"]),
            (Order::Errors, ["/broken", "/many", "/slow"]),
            (Order::Slowest, ["/slow", "/broken", "/many"]),
        ] {
            assert_eq!(keys(&tally, order), all(wanted), "{order:?}");
        }
        assert_eq!(Order::default().next().next().next(), Order::default());
        let first = &tally.ranked(Order::Errors)[0];
        assert_eq!((first.rate, first.row.error_share()), (2.0, 1.0));
    }

    #[test]
    fn a_rate_is_of_the_last_intervals_and_a_total_of_all() {
        let mut tally = Tally::default();
        tally.count("/a", false, 1.0);
        assert_eq!(tally.ranked(Order::Requests)[0].rate, 0.0);
        tally.tick(SECOND);
        assert_eq!(tally.ranked(Order::Requests)[0].rate, 1.0);
        tally.tick(SECOND);
        assert_eq!(tally.ranked(Order::Requests)[0].rate, 0.5);
        for _ in 0..INTERVALS {
            tally.tick(SECOND);
        }
        let rows = tally.ranked(Order::Requests);
        assert_eq!((rows[0].rate, rows[0].row.requests), (0.0, 1));
    }

    #[test]
    fn keys_without_end_are_one_row_and_what_is_asked_for_most_stays() {
        let mut tally = Tally::default();
        for number in 0..10_000 {
            tally.count("/busy", false, 1.0);
            tally.count(&format!("/scan/{number}"), true, 1.0);
        }
        assert!(tally.rows.len() <= MOST);
        let ranked = tally.ranked(Order::Requests);
        assert_eq!(ranked[0].key, Some("/busy"));
        assert_eq!(ranked[0].row.requests, 10_000);
        assert_eq!(ranked.last().unwrap().key, None);
        let all: u64 = ranked.iter().map(|ranked| ranked.row.requests).sum();
        assert_eq!(all, 20_000);
        // The latest one is seen.
        assert!(keys(&tally, Order::Requests).contains(&Some("/scan/9999")));
    }

    #[test]
    fn a_key_is_not_kept_in_all_its_length() {
        let mut tally = Tally::default();
        tally.count(&"é".repeat(10_000), false, 1.0);
        let ranked = tally.ranked(Order::Requests);
        assert_eq!(ranked[0].key.map(str::len), Some(LONGEST));
    }
}
