//! The latest errors. What fails again and again is one row that says how often.

use std::collections::VecDeque;

use super::record::Record;

/// The latest errors, newest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Errors(VecDeque<Repeated>);

/// An error, and how often it was seen.
#[derive(Clone, Debug)]
pub(super) struct Repeated {
    /// The last time.
    pub(super) record: Record,
    pub(super) times: u64,
}

impl Errors {
    /// Another one.
    pub(super) fn push(&mut self, mut record: Record) {
        let end = record.path.floor_char_boundary(LONGEST);
        record.path.truncate(end);
        let known = self.0.iter().position(|known| known.is_like(&record));
        let before = known.and_then(|at| self.0.remove(at));
        let times = before.map_or(0, |before| before.times) + 1;
        self.0.push_front(Repeated { record, times });
        self.0.truncate(MOST);
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Repeated> {
        self.0.iter()
    }
}

impl Repeated {
    fn is_like(&self, other: &Record) -> bool {
        let known = &self.record;
        known.status == other.status
            && known.reason == other.reason
            && known.method == other.method
            && known.path == other.path
    }
}

/// Rows kept.
const MOST: usize = 200;
/// Bytes of a path.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn error(path: &str, time: &str) -> Record {
        Record {
            path: path.to_owned(),
            time: time.to_owned(),
            reason: "upstream_refused".to_owned(),
            ..Record::default()
        }
    }

    #[test]
    fn the_newest_comes_first_and_a_repeated_one_is_counted() {
        let mut errors = Errors::default();
        for (path, time) in [("/a", "1"), ("/b", "2"), ("/a", "3")] {
            errors.push(error(path, time));
        }
        let rows: Vec<_> = errors
            .iter()
            .map(|row| (&*row.record.path, &*row.record.time, row.times))
            .collect();
        assert_eq!(rows, [("/a", "3", 2), ("/b", "2", 1)]);
    }

    #[test]
    fn they_are_bounded() {
        let mut errors = Errors::default();
        for number in 0..1000 {
            errors.push(error(&format!("/{number}{}", "é".repeat(500)), ""));
        }
        assert_eq!(errors.iter().len(), MOST);
        assert!(errors.iter().all(|row| row.record.path.len() <= LONGEST));
        assert!(
            errors
                .iter()
                .next()
                .unwrap()
                .record
                .path
                .starts_with("/999")
        );
    }
}
