//! Where certificate and key are, and reading both from one moment.
//!
//! The kubelet replaces a mounted Secret by renaming the symlink `..data` onto a new folder. Two reads through `..data`
//! can therefore see two different Secrets. So the link is resolved once, and both files are read from that folder.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::crypto::sha256;
use crate::error::LoadError;

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A mounted `kubernetes.io/tls` Secret: `tls.crt` and `tls.key` in a folder.
    Directory(PathBuf),
    /// Two files named one by one.
    Files {
        /// The certificate chain, PEM, leaf first.
        certificate: PathBuf,
        /// The private key, PEM.
        key: PathBuf,
    },
}

/// Certificate and key as they stood on disk at one moment. The key's bytes are wiped on drop.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) certificate: (PathBuf, Vec<u8>),
    pub(crate) key: (PathBuf, Zeroizing<Vec<u8>>),
}

impl Source {
    /// Reads certificate and key. Refuses what is no regular file and what is larger than 1 MiB.
    ///
    /// # Errors
    /// [`LoadError::Read`], [`LoadError::NotRegular`] and [`LoadError::TooLarge`].
    pub fn read(&self) -> Result<Snapshot, LoadError> {
        match self {
            Self::Files { certificate, key } => read_pair(certificate, key),
            Self::Directory(folder) => {
                let snapshot = resolve(folder)?;
                let read = read_in(&snapshot);
                // The kubelet deletes the old folder right after the swap, perhaps between our two reads.
                match resolve(folder)? {
                    now if read.is_err() && now != snapshot => read_in(&now),
                    _ => read,
                }
            }
        }
    }

    /// The folders to watch. A watch on a file, or on `..data`, goes silent after the first swap; one on the folder
    /// that holds the name does not (kubernetes/kubernetes#111947, istio/istio#14540).
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        match self {
            Self::Directory(folder) => vec![folder.clone()],
            Self::Files { certificate, key } => {
                let mut folders = vec![parent(certificate), parent(key)];
                folders.dedup();
                folders
            }
        }
    }

    /// Whether something that happened to `path` may change what would be read. Other files in the same folder may not.
    pub(crate) fn concerns(&self, path: &Path) -> bool {
        self.completes(path)
            || path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b".."))
            || self.folders().iter().any(|folder| folder == path)
    }

    /// Whether a rename onto this path completes a replacement, so that there is nothing to wait for.
    pub(crate) fn completes(&self, path: &Path) -> bool {
        let is = |wanted: &str| path.file_name().is_some_and(|name| name == wanted);
        match self {
            Self::Directory(_) => is("..data") || is("tls.crt") || is("tls.key"),
            Self::Files { certificate, key } => {
                is("..data")
                    || path.file_name() == certificate.file_name()
                    || path.file_name() == key.file_name()
            }
        }
    }
}

impl Snapshot {
    /// SHA-256 over both files: tells a change of content from a mere touch.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let length = (self.certificate.1.len() as u64).to_be_bytes();
        sha256(&[&length, &self.certificate.1, &self.key.1])
    }
}

/// The folder to read from: where `..data` points at this moment, else the folder itself.
fn resolve(folder: &Path) -> Result<PathBuf, LoadError> {
    let data = folder.join("..data");
    match fs::canonicalize(&data) {
        Ok(snapshot) => Ok(snapshot),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(folder.to_owned()),
        Err(error) => Err(LoadError::Read { path: data, error }),
    }
}

fn read_in(folder: &Path) -> Result<Snapshot, LoadError> {
    read_pair(&folder.join("tls.crt"), &folder.join("tls.key"))
}

fn read_pair(certificate: &Path, key: &Path) -> Result<Snapshot, LoadError> {
    let chain = read_bounded(certificate)?;
    let secret = Zeroizing::new(read_bounded(key)?);
    Ok(Snapshot {
        certificate: (certificate.into(), chain),
        key: (key.into(), secret),
    })
}

/// Reads a regular file of at most [`LIMIT`] bytes. The kind is checked before opening (opening a FIFO would block),
/// and the size again while reading, because the file may grow in between.
fn read_bounded(path: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |error| LoadError::Read {
        path: path.into(),
        error,
    };
    let too_large = |size| LoadError::TooLarge {
        path: path.into(),
        size,
        limit: LIMIT,
    };
    let meta = fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err(LoadError::NotRegular { path: path.into() });
    }
    if meta.len() > LIMIT {
        return Err(too_large(meta.len()));
    }
    // Room for everything at once: a growing Vec would leave copies of the key behind in freed memory.
    let mut bytes = Vec::with_capacity(meta.len() as usize + 1);
    let file = File::open(path).map_err(failed)?;
    file.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A Secret holds at most 1 MiB altogether.
const LIMIT: u64 = 1 << 20;
