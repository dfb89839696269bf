//! How fast connections are taken. What comes faster waits in the kernel, where it costs nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// A bucket of connections.
#[derive(Debug)]
pub(super) struct Pace {
    burst: u32,
    rate: u32,
    left: u32,
    since: Instant,
}

impl Pace {
    pub(super) fn new(burst: u32, rate: u32) -> Self {
        Self {
            burst,
            rate,
            left: burst,
            since: Instant::now(),
        }
    }

    /// Done when the next one may come.
    pub(super) async fn keep(&mut self) {
        self.refill();
        while self.left == 0 {
            sleep(TURN).await;
            self.refill();
        }
        self.left -= 1;
    }

    fn refill(&mut self) {
        let gained = self.since.elapsed().as_secs_f64() * f64::from(self.rate);
        if gained >= 1.0 {
            self.left = self.burst.min(self.left.saturating_add(gained as u32));
            self.since = Instant::now();
        }
    }
}

const TURN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_taken_at_once_and_the_rest_at_its_pace() {
        let mut pace = Pace::new(100, 50);
        let begin = Instant::now();
        for _ in 0..100 {
            pace.keep().await;
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
        for _ in 0..100 {
            pace.keep().await;
        }
        let took = begin.elapsed().as_secs_f64();
        assert!((1.9..2.2).contains(&took), "{took}");
    }
}
