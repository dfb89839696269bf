//! The log thread: takes batches of finished lines over a bounded queue and writes them. A reader that has stopped
//! reading stops this thread and nothing else; what no longer fits is dropped, counted, and announced in the stream.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The sending end of the queue. Never blocks.
#[derive(Clone)]
pub(crate) struct Sink(Arc<Queue>);

/// The log thread, to be ended with [`LineWriter::flush`].
#[derive(Debug)]
pub(crate) struct LineWriter(Sink);

/// Reads how many lines were dropped.
#[derive(Clone, Debug)]
pub(crate) struct Drops(Sink);

struct Queue {
    state: Mutex<State>,
    /// Tells the writer of work, and the one who flushes of its end.
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    batches: Vec<Box<[u8]>>,
    bytes: usize,
    /// Dropped and not announced yet.
    unannounced: u64,
    waiting: bool,
    closed: bool,
    done: bool,
}

impl LineWriter {
    /// Starts the thread. `announce` makes the line that tells of dropped ones.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(name: &str, out: File, announce: fn(u64) -> String) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let sink = Sink(Arc::clone(&queue));
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || queue.run(out, announce))?;
        Ok(Self(sink))
    }

    /// The sending end.
    pub(crate) fn sink(&self) -> Sink {
        self.0.clone()
    }

    /// For the metric.
    pub(crate) fn drops(&self) -> Drops {
        Drops(self.0.clone())
    }

    /// Writes what is queued and ends the thread, or gives up after `limit`.
    pub(crate) fn flush(self, limit: Duration) {
        let queue = self.0.0;
        let mut state = queue.lock();
        state.closed = true;
        queue.changed.notify_all();
        let end = Instant::now() + limit;
        while !state.done {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = match queue.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Drops {
    /// Lines dropped since the start.
    pub(crate) fn count(&self) -> u64 {
        self.0.0.dropped.load(Ordering::Relaxed)
    }
}

impl Sink {
    /// Queues a batch of `lines` lines, or drops it when the queue is full.
    pub(crate) fn send(&self, batch: Box<[u8]>, lines: u64) {
        let mut state = self.0.lock();
        if state.closed || state.bytes + batch.len() > MOST_QUEUED {
            state.unannounced += lines;
            self.0.dropped.fetch_add(lines, Ordering::Relaxed);
            return;
        }
        state.bytes += batch.len();
        state.batches.push(batch);
        if state.waiting {
            state.waiting = false;
            self.0.changed.notify_all();
        }
    }
}

/// For the program's own log: each event is one write.
impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes.into(), 1);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    fn run(&self, mut out: File, announce: fn(u64) -> String) {
        let mut torn = false;
        while let Some((batches, unannounced)) = self.take() {
            for batch in batches {
                let lost = write(&mut out, &batch, &mut torn);
                self.dropped.fetch_add(lost, Ordering::Relaxed);
                let mut state = self.lock();
                state.unannounced += lost;
                state.bytes -= batch.len();
            }
            if unannounced > 0 && write(&mut out, announce(unannounced).as_bytes(), &mut torn) > 0 {
                self.lock().unannounced += unannounced;
            }
            self.gather();
        }
        let unannounced = self.lock().unannounced;
        if unannounced > 0 {
            // The last word, whether it arrives or not.
            write(&mut out, announce(unannounced).as_bytes(), &mut torn);
        }
        self.lock().done = true;
        self.changed.notify_all();
    }

    /// Lets lines gather for a moment after each round: under load one wake-up then writes many batches, and a line is
    /// late by a few milliseconds at most.
    fn gather(&self) {
        if !self.lock().closed {
            thread::sleep(GATHER);
        }
    }

    /// Waits for work; none at the end.
    fn take(&self) -> Option<(Vec<Box<[u8]>>, u64)> {
        let mut state = self.lock();
        // What was lost is told together with the next line: telling it alone could only be lost as well.
        while state.batches.is_empty() {
            if state.closed {
                return None;
            }
            state.waiting = true;
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Some((
            std::mem::take(&mut state.batches),
            std::mem::take(&mut state.unannounced),
        ))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes lines, and returns how many were lost: a broken pipe or a full disk costs these lines, not the process. `torn` says
/// that the last line was left in its middle, so that the next does not become a part of it.
fn write(out: &mut File, lines: &[u8], torn: &mut bool) -> u64 {
    if *torn && write_patiently(out, b"\n") == 1 {
        *torn = false;
    }
    let written = if *torn {
        0
    } else {
        write_patiently(out, lines)
    };
    *torn |= written > 0 && lines[written - 1] != b'\n';
    memchr::memchr_iter(b'\n', &lines[written..]).count() as u64
}

/// Writes as much as can be written, and returns how much that was. A pipe that somebody made non-blocking is waited for
/// like any other.
fn write_patiently(out: &mut File, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(GATHER),
            Err(_) => break,
        }
    }
    written
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("dropped", &self.0.dropped)
            .finish_non_exhaustive()
    }
}

/// Bytes queued at most: some 10,000 lines.
const MOST_QUEUED: usize = 8 << 20;
/// How long lines gather between two rounds of writing.
const GATHER: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::fd::OwnedFd;

    use super::*;

    fn announce(lines: u64) -> String {
        format!("dropped {lines}\n")
    }

    #[test]
    fn what_nobody_reads_is_dropped_counted_and_announced_and_the_counts_add_up() {
        let (reader, pipe) = io::pipe().unwrap();
        let writer = LineWriter::start("test", File::from(OwnedFd::from(pipe)), announce).unwrap();
        let (sink, drops) = (writer.sink(), writer.drops());
        let batch = "a line of this length\n".repeat(1000);
        let mut sent = 0;
        // Until the queue is full, and some more.
        while drops.count() < 5000 {
            sink.send(batch.as_bytes().into(), 1000);
            sent += 1000;
        }
        let dropped = drops.count();
        assert!(
            sent * 22 < 2 * MOST_QUEUED as u64,
            "the queue took {sent} lines"
        );
        // Somebody reads again: the rest comes, and a line that tells of the gap.
        let reading = thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map(Result::unwrap);
            lines.fold((0, 0), |(whole, announced), line| {
                match line.strip_prefix("dropped ") {
                    Some(count) => (whole, announced + count.parse::<u64>().unwrap()),
                    None => {
                        assert_eq!(line, "a line of this length");
                        (whole + 1, announced)
                    }
                }
            })
        });
        writer.flush(Duration::from_secs(20));
        drop((sink, drops));
        assert_eq!(reading.join().unwrap(), (sent - dropped, dropped));
    }

    #[test]
    fn a_closed_pipe_costs_lines_and_nothing_else() {
        let (reader, pipe) = io::pipe().unwrap();
        drop(reader);
        let writer = LineWriter::start("test", File::from(OwnedFd::from(pipe)), announce).unwrap();
        let drops = writer.drops();
        writer.sink().send(b"one\ntwo\n".as_slice().into(), 2);
        writer.flush(Duration::from_secs(20));
        assert_eq!(drops.count(), 2);
    }
}
