//! Reading files as they stood at one moment.
//!
//! The kubelet replaces a mounted Secret by renaming the symlink `..data` onto a new folder. Two reads through `..data`
//! can therefore see two different Secrets. So each link is resolved once, and everything below it is read from the
//! folder it pointed at. When a link moves on meanwhile, the whole look is taken once more.

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
    /// Reads with `read`, and again as long as a `..data` link moves on meanwhile: what was read is then of two moments, or
    /// was deleted under our hands.
    pub(crate) fn look<T>(read: impl Fn(&Self) -> Result<T, LoadError>) -> Result<T, LoadError> {
        for _ in 1..LOOKS {
            let moment = Self::default();
            let seen = read(&moment);
            if !moment.is_over() {
                return seen;
            }
        }
        read(&Self::default())
    }

    /// A file's bytes, wiped on drop, whatever they are: one of them is a key.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        read_bounded(&self.locate(path)?, limit)
    }

    /// Where a file is at this moment: behind the first `..data` link on the way to it.
    fn locate(&self, path: &Path) -> Result<PathBuf, LoadError> {
        match hops(path).iter().find_map(|hop| data_link(hop)) {
            Some((link, rest)) => Ok(self.resolve(&link)?.join(rest)),
            None => Ok(path.to_owned()),
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

/// A path, and where its last part leads if that is a symbolic link, and so on. `tls.crt` may be a link of certbot's, or one
/// into a volume mounted elsewhere.
pub(crate) fn hops(path: &Path) -> Vec<PathBuf> {
    let mut hops = vec![path.to_owned()];
    while let Some(target) = hops.last().and_then(|hop| {
        let target = fs::read_link(hop).ok()?;
        Some(folder(hop).join(target))
    }) {
        hops.push(target);
        if hops.len() > HOPS {
            break;
        }
    }
    hops
}

/// The folder a path lies in. All paths here are absolute.
pub(crate) fn folder(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// The `..data` link of the mounted volume that a path goes through, and the rest of the path below it. What the kubelet
/// shows in a volume's own folder are links to `..data/…`; a `..data` that a path does not go through is nobody's business.
/// Items of a Secret may have folders of their own in the volume, so a few levels are looked through.
pub(crate) fn data_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    path.ancestors().skip(1).take(LEVELS).find_map(|volume| {
        let rest = path.strip_prefix(volume).ok()?;
        let link = volume.join(DATA);
        if let Ok(below) = rest.strip_prefix(DATA) {
            return Some((link, below.to_owned()));
        }
        let entry = volume.join(rest.components().next()?);
        let leads = fs::read_link(entry).ok()?;
        leads.starts_with(DATA).then(|| (link, rest.to_owned()))
    })
}

/// Whether a file outside a mounted Secret can be read by every user of the system. Kubernetes' own default for
/// Secrets is 0644, in a folder that only the pod sees: there it means nothing.
pub(crate) fn is_open_to_all(path: &Path) -> bool {
    hops(path).iter().all(|hop| data_link(hop).is_none())
        && fs::metadata(path).is_ok_and(|meta| meta.mode() & READABLE_BY_OTHERS != 0)
}

/// Reads a regular file of at most `limit` bytes. The kind is checked before opening (opening a FIFO would block),
/// and the size again while reading, because the file may grow in between.
fn read_bounded(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let failed = |error: io::Error| LoadError::Read {
        path: path.into(),
        error,
    };
    let too_large = |size| LoadError::TooLarge {
        path: path.into(),
        size,
        limit,
    };
    let meta = fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err(LoadError::NotRegular { path: path.into() });
    }
    if meta.len() > limit {
        return Err(too_large(meta.len()));
    }
    let file = File::open(path).map_err(failed)?;
    // Room for everything at once: a growing Vec would leave copies of the key behind in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(meta.len() as usize + 1));
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// How often the kubelet may get ahead of us.
const LOOKS: usize = 3;
/// Links upon links.
const HOPS: usize = 8;
/// The kubelet's link to the present content.
const DATA: &str = "..data";
/// How far above a file its volume's own folder is looked for.
const LEVELS: usize = 3;
const READABLE_BY_OTHERS: u32 = 0o004;
