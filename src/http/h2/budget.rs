//! What one connection may cost without getting anywhere. Frames that lead to nothing are paid for; time and answers pay back.
//!
//! The `h2` crate ends what grows (resets of streams it has not handed on, CONTINUATION, header lists); this ends what only
//! burns: PING, SETTINGS, PRIORITY, windows that open by a byte, frames of no type, requests that are begun and left.

use std::time::{Duration, Instant};

/// What is left of it.
#[derive(Debug)]
pub(super) struct Budget {
    left: i64,
    /// Time before this has paid already.
    paid: Instant,
}

impl Budget {
    /// For a connection with so many streams at once: leaving all of them costs what they bring.
    pub(super) fn new(streams: u32) -> Self {
        Self {
            left: FIRST + LOST_REQUEST * i64::from(streams),
            paid: Instant::now(),
        }
    }

    /// This has cost something. The clock is only asked when it matters.
    pub(super) fn spend(&mut self, cost: i64) {
        self.left -= cost;
        if self.left < 0 {
            let since = self.paid.elapsed().min(LONGEST);
            self.paid = Instant::now();
            self.left += since.as_millis() as i64 * PER_SECOND / 1000;
        }
    }

    /// This has led to something.
    pub(super) fn earn(&mut self, worth: i64) {
        self.left = (self.left + worth).min(MOST);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left < 0
    }
}

/// A frame that may lead to nothing.
pub(super) const IDLE_FRAME: i64 = 1;
/// A request that is malformed, or that its client leaves at once.
pub(super) const LOST_REQUEST: i64 = 10;
/// A request beyond the number of streams: a client that has just come does not know it.
pub(super) const REFUSED_REQUEST: i64 = 2;
/// A frame of a response: the client may open two windows and ask how long that took.
pub(super) const DATA: i64 = 3;
/// An answer: it pays for half a request that was left.
pub(super) const ANSWER: i64 = 5;
/// What a connection begins with.
const FIRST: i64 = 1000;
/// What it may save. Many frames of a response may be on their way before the client says anything to them.
const MOST: i64 = 100_000;
/// What time pays back.
const PER_SECOND: i64 = 100;
/// After so long it has paid all.
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_ends_and_what_leads_somewhere_does_not() {
        let mut flood = Budget::new(0);
        let frames = (0..20_000).take_while(|_| {
            flood.spend(IDLE_FRAME);
            !flood.is_spent()
        });
        assert!((1000..2000).contains(&frames.count()));
        let mut busy = Budget::new(0);
        for _ in 0..100_000 {
            // Both windows, a PING, and two of three requests answered.
            busy.spend(3 * IDLE_FRAME);
            busy.earn(DATA);
            busy.spend(LOST_REQUEST);
            busy.earn(2 * ANSWER);
            assert!(!busy.is_spent());
        }
        let mut late = Budget::new(0);
        late.earn(20_000 * DATA);
        late.spend(20_000 * 3 * IDLE_FRAME);
        assert!(!late.is_spent());
    }

    #[test]
    fn time_pays_back() {
        let mut budget = Budget::new(0);
        budget.paid = Instant::now() - Duration::from_secs(5);
        for _ in 0..1400 {
            budget.spend(IDLE_FRAME);
            assert!(!budget.is_spent());
        }
    }
}
