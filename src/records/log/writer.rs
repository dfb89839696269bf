//! The log thread: takes batches of finished lines from the queue and writes them. A reader that has stopped reading stops this
//! thread and nothing else; what is lost is announced in the stream.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::output::Output;
use super::queue::{Counts, Queue, Sink};

/// The log thread, to be ended with [`LineWriter::flush`].
#[derive(Debug)]
pub(crate) struct LineWriter(Sink);

/// What the rest of the house may know of it, and ask of it.
#[derive(Clone, Debug)]
pub(crate) struct LogHandle(Sink);

/// Tells of dropped lines through the function that it is given, which writes a line with its end and says whether it could.
pub(crate) type Announce = Box<dyn Fn(Counts, &mut dyn FnMut(&[u8]) -> bool) + Send>;

impl LineWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(name: &str, out: Output, announce: Announce) -> io::Result<Self> {
        let sink = Sink::new(MOST_QUEUED);
        let queue = Arc::clone(&sink.0);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&queue, out, &announce))?;
        Ok(Self(sink))
    }

    /// The sending end.
    pub(crate) fn sink(&self) -> Sink {
        self.0.clone()
    }

    pub(crate) fn handle(&self) -> LogHandle {
        LogHandle(self.0.clone())
    }

    /// Writes what is queued and ends the thread, or gives up after `limit`. Returns how many lines are lost by that.
    pub(crate) fn flush(self, limit: Duration) -> u64 {
        self.0.0.close(limit)
    }
}

impl LogHandle {
    /// Lines dropped since the start.
    pub(crate) fn dropped(&self) -> Counts {
        self.0.0.dropped()
    }

    /// Lines left out on purpose since the start, with `--log-sample`.
    pub(crate) fn sampled_out(&self) -> u64 {
        self.0.0.left_out()
    }

    /// Has the log file opened again.
    pub(crate) fn reopen(&self) {
        self.0.0.reopen();
    }
}

fn run(queue: &Queue, mut out: Output, announce: &Announce) {
    while let Some(work) = queue.take() {
        if work.reopen {
            out.reopen();
        }
        for batch in &work.batches {
            let written = out.write(batch.bytes());
            queue.wrote(batch, batch.behind(written));
        }
        if work.unannounced.sum() > 0 {
            announce(work.unannounced, &mut |line| {
                let is_told = out.write(line) == line.len();
                if !is_told {
                    queue.still_unannounced(work.unannounced);
                }
                is_told
            });
        }
        // Lines gather for a moment after each round: under load one wake-up then writes many batches, and a line is late
        // by a few milliseconds at most.
        if !queue.is_closed() {
            thread::sleep(GATHER);
        }
    }
    let unannounced = queue.last_word();
    if unannounced.sum() > 0 {
        // Whether it arrives or not.
        announce(unannounced, &mut |line| out.write(line) == line.len());
    }
    queue.done();
}

/// Bytes queued at most: some 10,000 lines.
const MOST_QUEUED: usize = 8 << 20;
/// How long lines gather between two rounds of writing.
const GATHER: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::records::class::Class;
    use crate::records::log::Lines;

    fn start(out: impl Into<OwnedFd>) -> LineWriter {
        let announce = |lost: Counts, write: &mut dyn FnMut(&[u8]) -> bool| {
            let line = format!("dropped {} {} {}\n", lost.success, lost.error, lost.audit);
            write(line.as_bytes());
        };
        let out = Output::stream(File::from(out.into()));
        LineWriter::start("test", out, Box::new(announce)).unwrap()
    }

    fn lines(class: Class, count: usize) -> Lines {
        let mut lines = Lines::default();
        for _ in 0..count {
            lines.add(|out| {
                out.extend_from_slice(format!("{class:?} of this length").as_bytes());
                class
            });
        }
        lines
    }

    #[test]
    fn what_nobody_reads_is_dropped_counted_and_announced_and_the_counts_add_up() {
        let (reader, pipe) = io::pipe().unwrap();
        let writer = start(pipe);
        let (sink, handle) = (writer.sink(), writer.handle());
        let mut sent = Counts::default();
        // Each class has room when those that matter less have none left.
        for class in Class::ALL {
            let batch = lines(class, 1000);
            let before = handle.dropped();
            while handle.dropped() == before {
                sink.send(&batch);
                (0..1000).for_each(|_| sent.add(class));
            }
        }
        let dropped = handle.dropped();
        assert!(dropped.success > 0 && dropped.error > 0 && dropped.audit > 0);
        assert!(sent.sum() * 20 < 2 * MOST_QUEUED as u64, "{sent:?}");
        // Somebody reads again: the rest comes, and a line that tells of the gap.
        let reading = thread::spawn(move || {
            let mut seen = (Counts::default(), Counts::default());
            for line in BufReader::new(reader).lines().map(Result::unwrap) {
                let (word, rest) = line.split_once(' ').unwrap();
                match word {
                    "dropped" => {
                        let mut counts = rest.split(' ').map(|count| count.parse::<u64>().unwrap());
                        seen.1.success += counts.next().unwrap();
                        seen.1.error += counts.next().unwrap();
                        seen.1.audit += counts.next().unwrap();
                    }
                    _ => {
                        let class = Class::ALL.into_iter().find(|c| format!("{c:?}") == word);
                        seen.0.add(class.unwrap());
                    }
                }
            }
            seen
        });
        writer.flush(Duration::from_secs(20));
        drop((sink, handle));
        let (written, announced) = reading.join().unwrap();
        assert_eq!(announced, dropped);
        assert_eq!(written.success + dropped.success, sent.success);
        assert_eq!(written.error + dropped.error, sent.error);
        assert_eq!(written.audit + dropped.audit, sent.audit);
    }

    #[test]
    fn a_full_queue_still_takes_what_matters_more() {
        let (_reader, pipe) = io::pipe().unwrap();
        let writer = start(pipe);
        let (sink, handle) = (writer.sink(), writer.handle());
        let flood = lines(Class::Success, 1000);
        while handle.dropped().success == 0 {
            sink.send(&flood);
        }
        sink.send(&lines(Class::Refused, 1000));
        sink.send(&lines(Class::Failed, 1000));
        sink.send(&lines(Class::Audit, 1000));
        let dropped = handle.dropped();
        assert_eq!((dropped.error, dropped.audit), (0, 0), "{dropped:?}");
    }

    #[test]
    fn a_closed_pipe_costs_lines_and_nothing_else() {
        let (reader, pipe) = io::pipe().unwrap();
        drop(reader);
        let writer = start(pipe);
        let handle = writer.handle();
        writer.sink().send(&lines(Class::Success, 2));
        writer.flush(Duration::from_secs(20));
        assert_eq!(handle.dropped().success, 2);
    }
}
