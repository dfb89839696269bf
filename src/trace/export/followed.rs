//! A file that is read again before each use, because it may be replaced while the process runs: a token that is renewed, a CA
//! that changes. While it cannot be used, what was good last is.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use tokio::task::{JoinHandle, spawn_blocking};
use zeroize::Zeroizing;

/// A file, and what was made of it last.
#[derive(Debug)]
pub(super) struct Followed<T> {
    /// Its flag.
    flag: &'static str,
    path: PathBuf,
    /// Bytes that it may have.
    most: u64,
    parse: fn(&[u8]) -> Result<T, String>,
    good: Option<Good<T>>,
    /// What was last told to be wrong with it.
    complaint: Option<String>,
    /// Whoever waits may be dropped, and a file system may hang: never more than one reads.
    reading: Option<JoinHandle<Result<Bytes, String>>>,
}

/// There may be a secret in it.
type Bytes = Zeroizing<Vec<u8>>;

struct Good<T> {
    bytes: Bytes,
    made: T,
}

impl<T: Clone> Followed<T> {
    pub(super) fn new(
        flag: &'static str,
        path: PathBuf,
        most: u64,
        parse: fn(&[u8]) -> Result<T, String>,
    ) -> Self {
        Self {
            flag,
            path,
            most,
            parse,
            good: None,
            complaint: None,
            reading: None,
        }
    }

    /// What is in it now.
    ///
    /// # Errors
    /// Why it cannot be used, where it never could.
    pub(super) async fn read(&mut self) -> Result<T, String> {
        let (path, most) = (self.path.clone(), self.most);
        let reading = self
            .reading
            .get_or_insert_with(|| spawn_blocking(move || bytes(&path, most)));
        let read = reading.await;
        self.reading = None;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        match read.and_then(|bytes| self.made(bytes)) {
            Ok(made) => {
                self.complaint = None;
                Ok(made)
            }
            Err(why) => self.without(&why),
        }
    }

    /// What is in it now, for whoever can wait and does not go on with it.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn look(&self) -> Result<T, String> {
        let read = bytes(&self.path, self.most).and_then(|bytes| (self.parse)(&bytes));
        read.map_err(|why| self.words(&why))
    }

    fn words(&self, why: &str) -> String {
        format!("reading {} {:?}: {why}", self.flag, self.path)
    }

    fn made(&mut self, bytes: Bytes) -> Result<T, String> {
        match &self.good {
            Some(good) if good.bytes == bytes => Ok(good.made.clone()),
            _ => {
                let made = (self.parse)(&bytes)?;
                self.good = Some(Good {
                    bytes,
                    made: made.clone(),
                });
                Ok(made)
            }
        }
    }

    fn without(&mut self, why: &str) -> Result<T, String> {
        let why = self.words(why);
        let Some(good) = &self.good else {
            return Err(why);
        };
        let made = good.made.clone();
        if self.complaint.as_ref() != Some(&why) {
            tracing::warn!("{why}; what it said before stays in use");
            self.complaint = Some(why);
        }
        Ok(made)
    }
}

impl<T> std::fmt::Debug for Good<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Good").finish_non_exhaustive()
    }
}

fn bytes(path: &PathBuf, most: u64) -> Result<Bytes, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(most + 1).read_to_end(&mut bytes);
    let count = read.map_err(|error| error.to_string())?;
    if count as u64 > most {
        return Err(format!("it has more than {} KiB", most / 1024));
    }
    Ok(bytes)
}
