//! The limits on progress: several times a second a look at every exchange of this worker, at what has moved since the last
//! one and at whom it waits for. Nothing on the request path keeps a clock for that: it only counts, and says who is waited
//! for.
//!
//! The looks count time, not the clock: a process that was stopped, or did not get the CPU, has not waited for anybody.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::time::sleep;

use super::progress::RequestProgress;
use crate::config::Limits;
use crate::failure::Reason;
use crate::wire::Gauge;

/// The exchanges of a worker that are in progress.
#[derive(Debug)]
pub(crate) struct Watch {
    pace: Pace,
    watched: RefCell<Slab<Watched>>,
}

/// One exchange is watched for as long as this lives.
#[derive(Debug)]
pub(crate) struct Entry {
    watch: Rc<Watch>,
    key: usize,
}

#[derive(Debug)]
struct Watched {
    progress: Rc<RequestProgress>,
    wire: Gauge,
    /// The connection is this exchange's alone.
    is_alone: bool,
    request: Run,
    response: Run,
    client: Run,
}

/// What is asked of everybody.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Without a byte.
    stall: Duration,
    /// Bytes in a [`WINDOW`]; 0 is off.
    least: u64,
}

/// One direction, and how it has gone so far. Only time in which somebody is waited for counts.
#[derive(Debug, Default)]
struct Run {
    seen: u64,
    was_owed: bool,
    /// Since the last byte.
    still: Duration,
    /// In this window.
    waited: Duration,
    moved: u64,
    /// What the whole connection had moved when this window began.
    others: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    Stalled,
    TooSlow,
}

impl Watch {
    pub(crate) fn new(limits: &Limits) -> Rc<Self> {
        Rc::new(Self {
            pace: Pace {
                stall: limits.stall_timeout,
                least: limits.min_rate.saturating_mul(WINDOW.as_secs()),
            },
            watched: RefCell::default(),
        })
    }

    /// Watches an exchange on this connection, which may be its alone.
    pub(crate) fn add(
        self: &Rc<Self>,
        progress: Rc<RequestProgress>,
        wire: Gauge,
        is_alone: bool,
    ) -> Entry {
        let (come, taken) = (wire.come(), wire.taken());
        let key = self.watched.borrow_mut().insert(Watched {
            client: Run::starting_at(if is_alone { taken } else { 0 }, taken),
            progress,
            wire,
            is_alone,
            request: Run::starting_at(0, come),
            response: Run::default(),
        });
        Entry {
            watch: Rc::clone(self),
            key,
        }
    }

    /// Looks again and again.
    pub(crate) async fn keep(self: Rc<Self>) {
        let interval = (self.pace.stall / 8).clamp(SHORTEST, LONGEST);
        let mut last = Instant::now();
        loop {
            sleep(interval).await;
            let now = Instant::now();
            self.look((now - last).min(interval * 2));
            last = now;
        }
    }

    fn look(&self, elapsed: Duration) {
        for (_, watched) in self.watched.borrow_mut().iter_mut() {
            if let Some(reason) = watched.judge(elapsed, self.pace) {
                let is_client = matches!(reason, Reason::ClientStalled | Reason::ClientTooSlow);
                if is_client && watched.is_alone {
                    watched.wire.reset_on_close();
                }
                watched.progress.condemn(reason);
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.watch.watched.borrow_mut().remove(self.key);
    }
}

impl Watched {
    /// Why it is not to go on, if it is not.
    fn judge(&mut self, elapsed: Duration, pace: Pace) -> Option<Reason> {
        let Self {
            progress,
            wire,
            is_alone,
            ..
        } = self;
        if progress.standing.is_condemned() {
            return None;
        }
        // While the application does not read an upload nobody reads from the client either.
        let is_unread = !progress.is_read_whole() && !progress.is_awaiting_client();
        if is_unread && *is_alone && wire.is_broken() {
            return Some(Reason::ClientGone);
        }
        let standing = &progress.standing;
        let (come, gone) = if *is_alone {
            (0, 0)
        } else {
            (wire.come(), wire.taken())
        };
        if !standing.is_request_exempt() {
            let (is_owed, sent) = (progress.is_awaiting_client(), progress.bytes());
            match self.request.look(elapsed, is_owed, (sent, come), pace) {
                Some(Slow::Stalled) => return Some(Reason::BodyTimeout),
                Some(Slow::TooSlow) => return Some(Reason::BodyTooSlow),
                None => {}
            }
        }
        if standing.is_response_exempt() {
            return None;
        }
        let (is_owed, taken) = if *is_alone {
            (wire.is_blocked(), wire.taken())
        } else {
            (standing.is_client_blocked(), standing.taken())
        };
        match self.client.look(elapsed, is_owed, (taken, gone), pace) {
            Some(Slow::Stalled) => return Some(Reason::ClientStalled),
            Some(Slow::TooSlow) => return Some(Reason::ClientTooSlow),
            None => {}
        }
        // An application may be slow, as long as it goes on.
        let pace = Pace { least: 0, ..pace };
        // It may be busy with the request.
        let answered = standing.answered() + progress.bytes();
        let is_owed = progress.is_awaiting_upstream();
        self.response
            .look(elapsed, is_owed, (answered, 0), pace)
            .map(|_| Reason::UpstreamStalled)
    }
}

impl Run {
    fn starting_at(seen: u64, others: u64) -> Self {
        Self {
            seen,
            others,
            ..Self::default()
        }
    }

    /// `elapsed` after the last look: whether somebody is waited for now, and how many bytes there have been in all, of this and
    /// of the whole connection: many streams that share it are each slower than it is.
    fn look(
        &mut self,
        elapsed: Duration,
        is_owed: bool,
        (total, all): (u64, u64),
        pace: Pace,
    ) -> Option<Slow> {
        // A wire that is gone has taken nothing.
        let moved = total.saturating_sub(self.seen);
        self.seen = total;
        let was_owed = std::mem::replace(&mut self.was_owed, is_owed);
        if !is_owed || moved > 0 {
            self.still = Duration::ZERO;
        }
        // What the kernel took in one gulp before anybody waited is nobody's pace.
        if !(is_owed && was_owed) {
            return None;
        }
        self.moved += moved;
        if moved == 0 {
            self.still += elapsed;
            if self.still >= pace.stall {
                return Some(Slow::Stalled);
            }
        }
        self.waited += elapsed;
        if self.waited < WINDOW {
            return None;
        }
        let shared = all.saturating_sub(self.others);
        let is_too_slow = self.moved.max(shared / MANY) < pace.least;
        (self.waited, self.moved, self.others) = (Duration::ZERO, 0, all);
        is_too_slow.then_some(Slow::TooSlow)
    }
}

/// What `--min-rate` is an average over.
const WINDOW: Duration = Duration::from_secs(30);
/// A connection that moves so many times the least is not slow, though each of its streams may be.
const MANY: u64 = 10;
/// Between two looks.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        stall: Duration::from_secs(60),
        least: 240 * 30,
    };
    const LOOK: Duration = Duration::from_millis(500);

    /// Looks for so many seconds while `each` bytes come between two looks.
    fn run(run: &mut Run, seconds: u32, is_owed: bool, each: u64) -> Option<Slow> {
        (0..seconds * 2).find_map(|_| {
            let seen = run.seen + each;
            run.look(LOOK, is_owed, (seen, 0), PACE)
        })
    }

    #[test]
    fn only_silence_of_somebody_who_is_waited_for_is_a_stall() {
        let no_rate = Pace { least: 0, ..PACE };
        let mut silent = Run::default();
        for _ in 0..120 {
            assert_eq!(silent.look(LOOK, true, (0, 0), no_rate), None);
        }
        assert_eq!(
            silent.look(LOOK, true, (0, 0), no_rate),
            Some(Slow::Stalled)
        );
        let mut unasked = Run::default();
        assert_eq!(run(&mut unasked, 3600, false, 0), None);
        let mut dripping = Run::default();
        assert!((0..3600).all(|seen| dripping.look(LOOK, true, (seen, seen), no_rate).is_none()));
    }

    #[test]
    fn a_rate_is_an_average_over_the_time_that_was_waited() {
        assert_eq!(run(&mut Run::default(), 3600, true, 120), None);
        let mut slow = Run::default();
        assert_eq!(run(&mut slow, 30, true, 119), None);
        assert_eq!(run(&mut slow, 1, true, 110), Some(Slow::TooSlow));
        // Half of the time nobody waits, and then nothing need come.
        let mut fits = Run::default();
        for _ in 0..600 {
            assert_eq!(run(&mut fits, 10, true, 130), None);
            assert_eq!(run(&mut fits, 10, false, 0), None);
        }
    }

    #[test]
    fn one_of_many_streams_is_as_slow_as_they_are_many() {
        let mut one = Run::default();
        let mut all = 0;
        for _ in 0..240 {
            all += 10 * 120;
            assert_eq!(one.look(LOOK, true, (one.seen + 1, all), PACE), None);
        }
        let slow = (0..240).find_map(|_| one.look(LOOK, true, (one.seen + 1, all), PACE));
        assert_eq!(slow, Some(Slow::TooSlow));
    }

    #[test]
    fn a_burst_pays_for_the_silence_around_it() {
        let mut bursty = Run::default();
        for _ in 0..100 {
            assert_eq!(run(&mut bursty, 1, true, 10_000), None);
            assert_eq!(run(&mut bursty, 28, true, 0), None);
        }
    }
}
