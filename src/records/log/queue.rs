//! The bounded queue between those who write records and the log thread. What does not fit is dropped and counted: successes
//! first, then what clients did wrong, then failures; the last part of it is for audit records.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::lines::Lines;
use crate::records::class::Class;

/// The sending end. Never blocks.
#[derive(Clone)]
pub(crate) struct Sink(pub(super) Arc<Queue>);

/// Lines by class. Those that clients and applications did wrong are one here: errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Exchanges that went well.
    pub success: u64,
    /// Exchanges and handshakes that did not, or took long.
    pub error: u64,
    /// Changes and notices.
    pub audit: u64,
}

pub(super) struct Queue {
    state: Mutex<State>,
    /// Tells the writer of work, and the one who flushes of its end.
    changed: Condvar,
    most: usize,
    /// By class: success, error, audit.
    dropped: [AtomicU64; 3],
    sampled_out: AtomicU64,
}

/// What the writer has to do.
#[derive(Default)]
pub(super) struct Work {
    pub(super) batches: Vec<Lines>,
    /// Dropped and not announced yet.
    pub(super) unannounced: Counts,
    /// The file is to be opened again.
    pub(super) reopen: bool,
}

#[derive(Default)]
struct State {
    work: Work,
    bytes: usize,
    /// Queued or being written.
    lines: u64,
    waiting: bool,
    closed: bool,
    done: bool,
}

impl Counts {
    pub(super) fn add(&mut self, class: Class) {
        match class {
            Class::Success => self.success += 1,
            Class::Refused | Class::Failed => self.error += 1,
            Class::Audit => self.audit += 1,
        }
    }

    /// All together.
    pub(crate) fn sum(self) -> u64 {
        self.success + self.error + self.audit
    }
}

impl Sink {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
            most,
            dropped: Default::default(),
            sampled_out: AtomicU64::new(0),
        }))
    }

    /// Queues lines; those for which there is no room are dropped.
    pub(super) fn send(&self, lines: &Lines) {
        // An exact copy: with nobody reading, the queue holds what its bound says and not the room of many batches.
        let mut batch = lines.exact();
        let queue = &*self.0;
        let mut state = queue.lock();
        if state.closed || state.bytes + batch.size() > room(Class::Success, queue.most) {
            batch = queue.thin(&mut state, lines);
        }
        if batch.is_empty() {
            return;
        }
        state.bytes += batch.size();
        state.lines += batch.count();
        state.work.batches.push(batch);
        queue.wake(&mut state);
    }

    /// So many lines are left out on purpose.
    pub(super) fn sampled_out(&self, lines: u64) {
        self.0.sampled_out.fetch_add(lines, Ordering::Relaxed);
    }
}

/// For the program's own log: each event is one write.
impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = Lines::default();
        lines.add(|out| {
            out.extend_from_slice(bytes.strip_suffix(b"\n").unwrap_or(bytes));
            Class::Audit
        });
        self.send(&lines);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    /// Of these lines the ones for which there is room.
    fn thin(&self, state: &mut State, lines: &Lines) -> Lines {
        let mut kept = Lines::default();
        for (class, line) in lines.iter() {
            let size = state.bytes + kept.size() + line.len() + 1;
            if state.closed || size > room(class, self.most) {
                self.lost(&mut state.work.unannounced, class);
            } else {
                kept.add(|out| {
                    out.extend_from_slice(line);
                    class
                });
            }
        }
        kept
    }

    fn lost(&self, unannounced: &mut Counts, class: Class) {
        unannounced.add(class);
        let [success, error, audit] = &self.dropped;
        let count = match class {
            Class::Success => success,
            Class::Refused | Class::Failed => error,
            Class::Audit => audit,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// A batch is done with; lines of these classes could not be written.
    pub(super) fn wrote(&self, batch: &Lines, lost: impl Iterator<Item = Class>) {
        let mut state = self.lock();
        state.bytes -= batch.size();
        state.lines -= batch.count();
        lost.for_each(|class| self.lost(&mut state.work.unannounced, class));
    }

    /// What was to be announced could not be.
    pub(super) fn still_unannounced(&self, counts: Counts) {
        let unannounced = &mut self.lock().work.unannounced;
        unannounced.success += counts.success;
        unannounced.error += counts.error;
        unannounced.audit += counts.audit;
    }

    /// Waits for work; none at the end.
    pub(super) fn take(&self) -> Option<Work> {
        let mut state = self.lock();
        // What was lost is told together with the next line: telling it alone could only be lost as well.
        while state.work.batches.is_empty() && !state.work.reopen {
            if state.closed {
                return None;
            }
            state.waiting = true;
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut state.work))
    }

    /// What nobody has been told, at the end.
    pub(super) fn last_word(&self) -> Counts {
        std::mem::take(&mut self.lock().work.unannounced)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The writer has ended.
    pub(super) fn done(&self) {
        self.lock().done = true;
        self.changed.notify_all();
    }

    /// Takes no more, and waits until the rest is written or `limit` is over. Returns how many lines are left then.
    pub(super) fn close(&self, limit: Duration) -> u64 {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        let end = Instant::now() + limit;
        while !state.done {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = match self.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        state.lines
    }

    /// Has the file opened again.
    pub(super) fn reopen(&self) {
        let mut state = self.lock();
        state.work.reopen = true;
        self.wake(&mut state);
    }

    pub(super) fn dropped(&self) -> Counts {
        let [success, error, audit] = &self.dropped;
        Counts {
            success: success.load(Ordering::Relaxed),
            error: error.load(Ordering::Relaxed),
            audit: audit.load(Ordering::Relaxed),
        }
    }

    pub(super) fn left_out(&self) -> u64 {
        self.sampled_out.load(Ordering::Relaxed)
    }

    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.waiting) {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How full the queue may be with a line of this class, of `most` bytes.
fn room(class: Class, most: usize) -> usize {
    match class {
        Class::Success => most / 16 * 12,
        Class::Refused => most / 16 * 13,
        Class::Failed => most / 16 * 15,
        Class::Audit => most,
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("dropped", &self.0.dropped)
            .finish_non_exhaustive()
    }
}
