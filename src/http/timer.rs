//! One timer for a connection's whole life.
//!
//! The idle deadline moves with every request. Moving a timer in the wheel each time would cost more than the deadline is
//! worth, so the timer stays where it is and, when it fires early, is set again to what the deadline has become.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(crate) struct Timer {
    deadline: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    pub(crate) fn new(after: Duration) -> Self {
        let deadline = Instant::now() + after;
        Self {
            deadline,
            sleep: Box::pin(sleep_until(deadline)),
        }
    }

    /// Sets the deadline. Only one that lies before the timer costs anything.
    pub(crate) fn set(&mut self, after: Duration) {
        self.deadline = Instant::now() + after;
        if self.sleep.deadline() > self.deadline {
            self.sleep.as_mut().reset(self.deadline);
        }
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.deadline);
        }
    }
}
