//! Where lines go: a stream that was there before, or a file that can be opened again.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// An output, and how far the last line got.
#[derive(Debug)]
pub(crate) struct Output<W = File> {
    out: W,
    /// Where it was opened.
    path: Option<PathBuf>,
    /// A line of which only the beginning was written, and how much of it.
    torn: Option<(Vec<u8>, usize)>,
    /// Since when writing fails.
    failing: Option<Instant>,
    /// Whether that is said in the program's own log.
    is_told: bool,
}

impl Output {
    /// A file, to be appended to.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn append(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: Some(path.to_owned()),
            ..Self::stream(open(path)?)
        })
    }

    /// Opens the file again, which somebody may have moved away. A file that cannot be opened leaves the old one in use.
    pub(super) fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => {
                tracing::info!(path = %path.display(), "the log file was opened again");
                let is_same = identity(&file).is_some_and(|new| Some(new) == identity(&self.out));
                if let Some((_, written)) = self.torn.as_mut().filter(|_| !is_same) {
                    // The other file keeps the beginning, and this one gets the whole line.
                    *written = 0;
                }
                self.out = file;
            }
            Err(error) => tracing::error!(
                path = %path.display(),
                %error,
                "the log file cannot be opened again: going on with the old one; see to the folder and send SIGUSR1 once more"
            ),
        }
    }
}

impl<W: Write> Output<W> {
    /// What is open already.
    pub(crate) fn stream(out: W) -> Self {
        Self {
            out,
            path: None,
            torn: None,
            failing: None,
            is_told: false,
        }
    }

    /// The same, and the program's own log has it when writing fails.
    pub(crate) fn told(self) -> Self {
        Self {
            is_told: true,
            ..self
        }
    }

    /// Writes lines, and returns to where they are taken care of: a broken pipe or a full disk costs the lines behind that, not
    /// the process. The rest of a line that broke off is kept, and goes first when there is room again.
    pub(super) fn write(&mut self, lines: &[u8]) -> usize {
        if let Some((line, mut written)) = self.torn.take() {
            written += self.write_patiently(&line[written..]);
            if written < line.len() {
                self.torn = Some((line, written));
                return 0;
            }
        }
        let written = self.write_patiently(lines);
        let start = memchr::memrchr(b'\n', &lines[..written]).map_or(0, |end| end + 1);
        if start == written {
            return written;
        }
        let end = memchr::memchr(b'\n', &lines[start..]).map_or(lines.len(), |end| start + end + 1);
        self.torn = Some((lines[start..end].to_vec(), written - start));
        end
    }

    /// Writes as much as can be written, and returns how much that was. A pipe that somebody made non-blocking is waited
    /// for like any other.
    fn write_patiently(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) => return self.failed(written, &io::Error::from(ErrorKind::WriteZero)),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(error) => return self.failed(written, &error),
            }
        }
        if self
            .failing
            .take_if(|since| since.elapsed() > QUIET)
            .is_some()
        {
            tracing::info!("records are written again");
        }
        written
    }

    /// Says so, unless it was said just now: a disk may be full again with every line.
    fn failed(&mut self, written: usize, error: &io::Error) -> usize {
        if self.is_told && self.failing.is_none() {
            tracing::error!(%error, "records cannot be written; they are dropped, counted, and still in /logs");
            self.failing = Some(Instant::now());
        }
        written
    }
}

/// Readable by the group, whose collectors read it; by nobody else, because paths and addresses are nobody else's business. Not
/// blocking: a FIFO without a reader is an error, and nothing to wait for before the probes are answered.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)
}

fn identity(file: &File) -> Option<(u64, u64)> {
    let known = file.metadata().ok()?;
    Some((known.dev(), known.ino()))
}

/// Before a full pipe is tried again.
const PAUSE: Duration = Duration::from_millis(5);
/// How long it has to be told no more that writing fails.
const QUIET: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with little room.
    struct Disk {
        held: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.held.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_broke_off_is_finished_first_and_counts_as_written() {
        for room in 0..=12 {
            let held = Vec::new();
            let mut output = Output::stream(Disk { held, room });
            let taken = output.write(b"one\ntwo\nsix\n");
            // The line in which the room ends is still to come whole.
            assert_eq!(taken, room.next_multiple_of(4), "{room}");
            assert_eq!(output.write(b"lost\n"), 0);
            output.out.room = 100;
            assert_eq!(output.write(b"ten\n"), 4);
            let text = String::from_utf8(output.out.held).unwrap();
            let wanted = format!("{}ten\n", &"one\ntwo\nsix\n"[..taken]);
            assert_eq!(text, wanted, "{room}");
        }
    }
}
