//! Reading files as they stood at one moment.
//!
//! The kubelet replaces a mounted Secret by renaming the symlink `..data` onto a new folder. Two reads through `..data`
//! can therefore see two different Secrets. So each link is resolved once, and everything below it is read from the
//! folder it pointed at. When that folder is deleted under our hands, the whole look is taken once more.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::LoadError;

/// One look at the disk.
#[derive(Debug, Default)]
pub(crate) struct Moment {
    /// `..data` links, and where they pointed.
    links: RefCell<BTreeMap<PathBuf, PathBuf>>,
}

impl Moment {
    /// Reads with `read`, and once more if a `..data` link has moved on and something was missing.
    pub(crate) fn look<T>(read: impl Fn(&Self) -> Result<T, LoadError>) -> Result<T, LoadError> {
        let moment = Self::default();
        match read(&moment) {
            Err(_) if moment.is_over() => read(&Self::default()),
            seen => seen,
        }
    }

    /// A file's bytes, wiped on drop, whatever they are: one of them is a key.
    pub(crate) fn read(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        read_bounded(&self.locate(path)?)
    }

    /// Where a file is at this moment.
    fn locate(&self, path: &Path) -> Result<PathBuf, LoadError> {
        let Some((link, rest)) = data_link(path) else {
            return Ok(path.to_owned());
        };
        let snapshot = self.resolve(&link)?;
        // A file may also stand beside the link instead of behind it.
        match fs::canonicalize(path) {
            Ok(real) if !real.starts_with(&snapshot) && !snapshot.join(rest).exists() => {
                Ok(path.to_owned())
            }
            _ => Ok(snapshot.join(rest)),
        }
    }

    fn resolve(&self, link: &Path) -> Result<PathBuf, LoadError> {
        if let Some(known) = self.links.borrow().get(link) {
            return Ok(known.clone());
        }
        let snapshot = fs::canonicalize(link).map_err(|error| LoadError::Read {
            path: link.to_owned(),
            error,
        })?;
        self.links
            .borrow_mut()
            .insert(link.to_owned(), snapshot.clone());
        Ok(snapshot)
    }

    /// Whether a link points elsewhere by now.
    fn is_over(&self) -> bool {
        self.links
            .borrow()
            .iter()
            .any(|(link, seen)| fs::canonicalize(link).ok().as_ref() != Some(seen))
    }
}

/// The `..data` link of the mounted volume that a path lies in, and the rest of the path below it. Items of a Secret may
/// have a folder of their own in the volume, so a few levels are looked through.
pub(crate) fn data_link(path: &Path) -> Option<(PathBuf, &Path)> {
    path.ancestors()
        .skip(1)
        .take(LEVELS)
        .filter(|folder| !folder.as_os_str().is_empty())
        .find_map(|folder| {
            let link = folder.join("..data");
            link.symlink_metadata().ok()?;
            Some((link, path.strip_prefix(folder).ok()?))
        })
}

/// Whether a file outside a mounted Secret can be read by every user of the system. Kubernetes' own default for
/// Secrets is 0644, in a folder that only the pod sees: there it means nothing.
pub(crate) fn is_open_to_all(path: &Path) -> bool {
    data_link(path).is_none()
        && fs::metadata(path).is_ok_and(|meta| meta.mode() & READABLE_BY_OTHERS != 0)
}

/// Reads a regular file of at most [`LIMIT`] bytes. The kind is checked before opening (opening a FIFO would block),
/// and the size again while reading, because the file may grow in between.
fn read_bounded(path: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let failed = |error: io::Error| LoadError::Read {
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
    let file = File::open(path).map_err(failed)?;
    // Room for everything at once: a growing Vec would leave copies of the key behind in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(meta.len() as usize + 1));
    file.take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// A Secret holds at most 1 MiB altogether.
const LIMIT: u64 = 1 << 20;
/// How far above a file its volume's link is looked for.
const LEVELS: usize = 3;
const READABLE_BY_OTHERS: u32 = 0o004;
