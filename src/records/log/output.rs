//! Where lines go: a stream that was there before, or a file that can be opened again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// An output, and how far the last line got.
#[derive(Debug)]
pub(crate) struct Output {
    file: File,
    /// Where it was opened.
    path: Option<PathBuf>,
    /// The last line was left in its middle, so the next must not become a part of it.
    torn: bool,
}

impl Output {
    /// An open stream.
    pub(crate) fn stream(file: File) -> Self {
        Self {
            file,
            path: None,
            torn: false,
        }
    }

    /// A file, to be appended to.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn append(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: open(path)?,
            path: Some(path.to_owned()),
            torn: false,
        })
    }

    /// Opens the file again, which somebody may have moved away. A file that cannot be opened leaves the old one in use.
    pub(super) fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => {
                (self.file, self.torn) = (file, false);
                tracing::info!(path = %path.display(), "the log file was opened again");
            }
            Err(error) => tracing::error!(
                path = %path.display(),
                %error,
                "the log file cannot be opened again: going on with the old one; see to the folder and send SIGUSR1 once more"
            ),
        }
    }

    /// Writes lines, and returns how many bytes of them got there: a broken pipe or a full disk costs the rest, not the
    /// process.
    pub(super) fn write(&mut self, lines: &[u8]) -> usize {
        if self.torn && self.write_patiently(b"\n") == 1 {
            self.torn = false;
        }
        if self.torn {
            return 0;
        }
        let written = self.write_patiently(lines);
        self.torn = written > 0 && lines[written - 1] != b'\n';
        written
    }

    /// Writes as much as can be written, and returns how much that was. A pipe that somebody made non-blocking is waited
    /// for like any other.
    fn write_patiently(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(_) => break,
            }
        }
        written
    }
}

/// Readable by the group, whose collectors read it; by nobody else, because paths and addresses are nobody else's business.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// Before a full pipe is tried again.
const PAUSE: Duration = Duration::from_millis(5);
