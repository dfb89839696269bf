//! When and how a connection ends that does not end by itself: GOAWAY and, when nothing is left or nothing moves, the close; or
//! at once, for a client that breaks the rules.

use std::task::Context;
use std::time::{Duration, Instant};

use super::tally::Tally;
use crate::conn::Conn;
use crate::failure::Reason;
use crate::http::timer::Timer;
use crate::worker::Worker;

/// One connection's ending.
pub(super) struct Leaving<'a> {
    pub(super) worker: &'a Worker,
    conn: &'a Conn,
    tally: &'a Tally,
    /// Runs while nothing is open, and while the last words are said.
    timer: Timer,
    /// Expires when the connection has reached its age.
    age: Option<Timer>,
    /// Runs while a head is half here.
    head: Option<Timer>,
    said: bool,
    /// Since when it closes, and the rest is the client's to read.
    closing: Option<Instant>,
    /// Why it is sent away, if it is.
    sent_away: Option<Reason>,
    /// What the client had taken when it last took anything, and when that was seen.
    taken: (u64, Instant),
}

/// What is to be done now.
pub(super) enum Step {
    Nothing,
    /// GOAWAY: what is open is finished.
    SayGoodbye,
    /// GOAWAY: nothing is finished.
    SendAway,
    /// Everything is finished, and the client has not answered that.
    Close,
    Over,
}

impl<'a> Leaving<'a> {
    pub(super) fn new(worker: &'a Worker, conn: &'a Conn, tally: &'a Tally) -> Self {
        Self {
            worker,
            conn,
            tally,
            age: conn.tenure.left().map(Timer::new),
            head: None,
            timer: Timer::new(worker.config.limits.idle_timeout),
            said: false,
            closing: None,
            sent_away: None,
            taken: (0, Instant::now()),
        }
    }

    /// Something has begun, or the last of it has ended.
    pub(super) fn moved(&mut self) {
        self.timer.set(if self.said || self.sent_away.is_some() {
            LAST_WORDS
        } else {
            self.worker.config.limits.idle_timeout
        });
    }

    /// What is to be done while so many streams are open. Asked again at once, unless it is nothing.
    pub(super) fn poll(&mut self, open: usize, cx: &mut Context<'_>) -> Step {
        if self.sent_away.is_none() {
            self.sent_away = self.verdict(cx);
            if let Some(reason) = self.sent_away {
                self.conn.cut.set(Some(reason));
                self.timer.set(LAST_WORDS);
                return Step::SendAway;
            }
        }
        if self.is_due(cx) {
            return self.goodbye();
        }
        if self.timer.poll_expired(cx).is_pending() {
            return Step::Nothing;
        }
        if self.sent_away.is_some() {
            if self.conn.wire.is_blocked() {
                self.conn.wire.reset_on_close();
            }
            return Step::Over;
        }
        if open > 0 {
            return self.wait(self.worker.config.limits.idle_timeout, cx);
        }
        if self.conn.wire.is_blocked() {
            if self.is_taking() {
                return self.wait(LAST_WORDS, cx);
            }
            self.conn.wire.reset_on_close();
            return Step::Over;
        }
        if !self.said {
            return self.goodbye();
        }
        match self.closing {
            None => {
                self.closing = Some(Instant::now());
                self.timer.set(LAST_WORDS);
                Step::Close
            }
            Some(since) if since.elapsed() < self.longest_close() => self.wait(LAST_WORDS, cx),
            Some(_) => Step::Over,
        }
    }

    /// Nothing is to be done for so long, if nothing else happens.
    fn wait(&mut self, after: Duration, cx: &mut Context<'_>) -> Step {
        self.timer.set(after);
        // It has just been set: this only asks to be woken.
        let _ = self.timer.poll_expired(cx);
        Step::Nothing
    }

    /// Why the connection was ended by us and not by the client, or in the middle of something.
    pub(super) fn reason(&self) -> Option<Reason> {
        let broke_off = || self.tally.partial().map(|_| Reason::ClientGone);
        self.sent_away
            .or_else(|| self.tally.ended())
            .or_else(broke_off)
    }

    fn longest_close(&self) -> Duration {
        if self.worker.is_closing() {
            LONGEST_CLOSE_IN_DRAIN
        } else {
            LONGEST_CLOSE
        }
    }

    fn goodbye(&mut self) -> Step {
        self.said = true;
        self.timer.set(LAST_WORDS);
        Step::SayGoodbye
    }

    /// Whether GOAWAY is due.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let is_aged = self
            .age
            .as_mut()
            .is_some_and(|age| age.poll_expired(cx).is_ready());
        let is_over = is_aged || self.conn.tenure.is_used_up();
        !self.said && (is_over || self.worker.is_closing_for(self.conn))
    }

    /// Why the client is to go at once.
    fn verdict(&mut self, cx: &mut Context<'_>) -> Option<Reason> {
        if self.tally.is_spent() {
            return Some(Reason::H2Abuse);
        }
        let since = self.tally.partial()?;
        let left = self.worker.config.limits.head_timeout;
        let left = left.saturating_sub(since.elapsed());
        let timer = self.head.get_or_insert_with(|| Timer::new(left));
        timer.set(left);
        let is_over = timer.poll_expired(cx).is_ready();
        is_over.then_some(Reason::HeadTimeout)
    }

    /// Whether the client still takes the end of what was answered: no stream is open any more, but bytes wait.
    fn is_taking(&mut self) -> bool {
        let taken = self.conn.wire.taken();
        if taken != self.taken.0 {
            self.taken = (taken, Instant::now());
        }
        self.taken.1.elapsed() < self.worker.config.limits.stall_timeout
    }
}

/// Closing has a limit of its own, as long as the client reads; this is for one who makes it last.
const LONGEST_CLOSE: Duration = Duration::from_secs(600);
const LONGEST_CLOSE_IN_DRAIN: Duration = Duration::from_secs(10);
/// After GOAWAY with no stream left: time for the client to close first.
const LAST_WORDS: Duration = Duration::from_secs(1);
