//! Where things are on disk, grouped into parts: files that change together, are read in one moment, and are proven or
//! refused as one.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::crypto::sha256;
use crate::error::LoadError;
use crate::moment::{Moment, data_link, folder, hops, is_open_to_all};

/// Where a certificate and its key come from.
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

impl Source {
    /// The certificate's file and the key's.
    pub(crate) fn files(&self) -> (PathBuf, PathBuf) {
        match self {
            Self::Directory(folder) => (folder.join("tls.crt"), folder.join("tls.key")),
            Self::Files { certificate, key } => (certificate.clone(), key.clone()),
        }
    }

    fn label(&self) -> String {
        match self {
            Self::Directory(folder) => folder.display().to_string(),
            Self::Files { certificate, .. } => certificate.display().to_string(),
        }
    }
}

/// What a part is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// How people know it: its folder, or its first file.
    pub(crate) label: String,
    /// A certificate and its key.
    pub(crate) pair: Option<Pair>,
    /// The client CA, and its CRL.
    pub(crate) trust: Option<TrustFiles>,
    /// The seed of the ticket keys.
    pub(crate) seed: Option<PathBuf>,
}

/// Where a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Its number among all of them.
    pub(crate) place: usize,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Where the trust in clients comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustFiles {
    pub(crate) ca: PathBuf,
    pub(crate) crl: Option<PathBuf>,
}

/// The bytes of a part at one moment. Wiped on drop.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Each file by its configured name, in the order of [`Part::paths`].
    pub(crate) files: Vec<(PathBuf, Zeroizing<Vec<u8>>)>,
}

impl Part {
    /// Groups what is configured: a client CA (with its CRL) that lies in the folder of a certificate changes with that
    /// certificate, so it belongs to its part; elsewhere it is a part of its own.
    pub(crate) fn group(
        sources: &[Source],
        trust: Option<(&Path, Option<&Path>)>,
        seed: Option<&Path>,
    ) -> Vec<Self> {
        let mut trust = trust.map(|(ca, crl)| TrustFiles {
            ca: absolute(ca),
            crl: crl.map(absolute),
        });
        let mut parts = Vec::new();
        for (place, source) in sources.iter().enumerate() {
            let (certificate, key) = source.files();
            let (certificate, key) = (absolute(&certificate), absolute(&key));
            let is_beside = |file: &PathBuf| file.parent() == certificate.parent();
            let is_all_beside =
                |files: &mut TrustFiles| is_beside(&files.ca) && files.crl.iter().all(is_beside);
            parts.push(Self {
                label: source.label(),
                trust: trust.take_if(is_all_beside),
                pair: Some(Pair {
                    place,
                    certificate,
                    key,
                }),
                seed: None,
            });
        }
        parts.extend(trust.map(|files| Self {
            label: files.ca.display().to_string(),
            pair: None,
            trust: Some(files),
            seed: None,
        }));
        parts.extend(seed.map(|seed| Self {
            label: seed.display().to_string(),
            pair: None,
            trust: None,
            seed: Some(absolute(seed)),
        }));
        parts
    }

    /// All its files.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let pair = self
            .pair
            .iter()
            .flat_map(|pair| [&pair.certificate, &pair.key]);
        let trust = self
            .trust
            .iter()
            .flat_map(|files| std::iter::once(&files.ca).chain(&files.crl));
        pair.chain(trust)
            .chain(&self.seed)
            .map(PathBuf::as_path)
            .collect()
    }

    /// Reads all files in one moment.
    ///
    /// # Errors
    /// [`LoadError::Read`], [`LoadError::NotRegular`] and [`LoadError::TooLarge`].
    pub(crate) fn read(&self) -> Result<Snapshot, LoadError> {
        Moment::look(|moment| {
            let files = self
                .paths()
                .into_iter()
                .map(|path| Ok((path.to_owned(), moment.read(path, self.limit(path))?)))
                .collect::<Result<_, _>>()?;
            Ok(Snapshot { files })
        })
    }

    /// CRLs grow with the years; everything else fits into a Secret, which holds 1 MiB altogether.
    fn limit(&self, path: &Path) -> u64 {
        let mut crl = self.trust.iter().filter_map(|files| files.crl.as_deref());
        if crl.any(|crl| crl == path) {
            LARGEST_CRL
        } else {
            LARGEST
        }
    }

    /// A secret of this part that every user of the system may read, in words.
    pub(crate) fn open_secret(&self) -> Option<String> {
        let mut secrets = self.pair.iter().map(|pair| &pair.key).chain(&self.seed);
        let open = secrets.find(|path| is_open_to_all(path))?;
        Some(format!(
            "{} is readable by every user: chmod 0600 it, or 0640 with a group of its own",
            open.display()
        ))
    }

    /// Whether its files can only change all at once, by a swap of `..data`.
    pub(crate) fn is_swapped(&self) -> bool {
        let is_behind = |path: &Path| hops(path).iter().any(|hop| data_link(hop).is_some());
        self.paths().into_iter().all(is_behind)
    }

    /// The folders to watch. A watch on a file, or on `..data`, goes silent after the first swap; one on the folder
    /// that holds the name does not (kubernetes/kubernetes#111947, istio/istio#14540).
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for hop in self.paths().into_iter().flat_map(hops) {
            let own = folder(&hop);
            // A folder on the way may itself be a link that is swapped.
            let links = own
                .ancestors()
                .take(LEVELS)
                .filter(|above| above.is_symlink());
            folders.extend(links.map(folder));
            // And the volume's own folder, where an item has one further down.
            folders.extend(data_link(&hop).map(|(link, _)| folder(&link)));
            folders.push(own);
        }
        folders.sort();
        folders.dedup();
        folders
    }

    /// Whether something that happened to `path` may change what would be read. Other files in the same folder may not.
    pub(crate) fn concerns(&self, path: &Path) -> bool {
        self.completes(path)
            || path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b".."))
    }

    /// Whether a rename onto this path completes a replacement, so that there is nothing to wait for.
    pub(crate) fn completes(&self, path: &Path) -> bool {
        let name = path.file_name();
        let is_it = |own: &Path| {
            own.file_name() == name || own.ancestors().skip(1).any(|above| above == path)
        };
        name.is_some_and(|name| name == "..data") || self.paths().into_iter().any(is_it)
    }
}

impl Snapshot {
    /// SHA-256 over all files: tells a change of content from a mere touch.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let lengths: Vec<_> = self
            .files
            .iter()
            .map(|(_, bytes)| (bytes.len() as u64).to_be_bytes())
            .collect();
        let mut pieces = Vec::new();
        for ((_, bytes), length) in self.files.iter().zip(&lengths) {
            pieces.push(&length[..]);
            pieces.push(&bytes[..]);
        }
        sha256(&pieces)
    }

    /// A file of the part that was read.
    pub(crate) fn file<'a>(&'a self, path: &'a Path) -> (&'a Path, &'a [u8]) {
        let found = self.files.iter().find(|(own, _)| own == path);
        (path, found.map_or(&[], |(_, bytes)| bytes))
    }
}

/// notify tells of absolute paths; and what is relative means something else after a change of folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// How far above a file links are looked for.
const LEVELS: usize = 4;
/// Bytes of a file of a Secret.
const LARGEST: u64 = 1 << 20;
/// Bytes of a CRL.
const LARGEST_CRL: u64 = 32 << 20;
