//! Being told of changes: inotify on the folders of a part.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::source::Part;
use crate::watch::POLL_BLIND;

/// What an event says about the state of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    /// `..data` was swapped, or a folder: all is new.
    Swapped,
    /// A rename put one file in place whole; the others may follow.
    Renamed,
    /// Something was written, created or removed; more may follow.
    Partial,
}

/// The inotify side: which folders are watched, and what they told.
pub(crate) struct Watch {
    part: Part,
    watcher: Option<RecommendedWatcher>,
    watched: Vec<(PathBuf, Identity)>,
    sender: mpsc::UnboundedSender<Hint>,
    events: mpsc::UnboundedReceiver<Hint>,
    /// A watched folder went away. What takes its place may have the same inode, and is not watched all the same.
    lost: Arc<AtomicBool>,
    complained: bool,
}

/// Device and inode: a folder that was deleted and made again is another one, and the old watch is dead.
type Identity = (u64, u64);

impl Watch {
    pub(crate) fn new(part: Part) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        Self {
            part,
            watcher: None,
            watched: Vec::new(),
            sender,
            events,
            lost: Arc::default(),
            complained: false,
        }
    }

    /// Makes sure that every folder is watched as it is now. False when one cannot be.
    pub(crate) fn open(&mut self) -> bool {
        let now: Option<Vec<_>> = self
            .part
            .folders()
            .into_iter()
            .map(|folder| identity(&folder).map(|identity| (folder, identity)))
            .collect();
        let Some(now) = now else {
            self.watcher = None;
            self.watched.clear();
            return false;
        };
        let is_lost = self.lost.swap(false, Ordering::Relaxed);
        if self.watcher.is_some() && self.watched == now && !is_lost {
            return true;
        }
        match self.start(&now) {
            Ok(watcher) => {
                (self.watcher, self.watched, self.complained) = (Some(watcher), now, false);
                // What happened between the last look and this watch told nobody: look again.
                let _ = self.sender.send(Hint::Partial);
                true
            }
            Err(error) => {
                if !self.complained {
                    tracing::warn!(%error, "watching the certificate folder failed; polling every {POLL_BLIND:?} instead (is fs.inotify.max_user_instances used up?)");
                }
                (self.watcher, self.complained) = (None, true);
                false
            }
        }
    }

    fn start(&self, folders: &[(PathBuf, Identity)]) -> notify::Result<RecommendedWatcher> {
        let sender = self.sender.clone();
        let part = self.part.clone();
        let watched: Vec<_> = folders.iter().map(|(folder, _)| folder.clone()).collect();
        let lost = Arc::clone(&self.lost);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event
                .as_ref()
                .is_ok_and(|event| ends_watch(&watched, event))
            {
                lost.store(true, Ordering::Relaxed);
            }
            if let Some(hint) = hint(&part, &watched, event) {
                // The receiver lives as long as the process.
                let _ = sender.send(hint);
            }
        })?;
        for (folder, _) in folders {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    }

    /// Waits until something has changed and is worth a look, `period` at most. None: nobody told of anything. True: all
    /// that was told of was renamed into place, so that nothing is half of a write.
    pub(crate) async fn changed(&mut self, period: Duration) -> Option<bool> {
        // The channel cannot close: `self` holds a sender.
        let first = timeout(period, self.events.recv()).await.ok().flatten()?;
        match first {
            Hint::Swapped => {}
            Hint::Renamed => sleep(TOGETHER).await,
            Hint::Partial => self.quiet().await,
        }
        let mut is_whole = first != Hint::Partial;
        // The read that follows sees what these told of, too.
        while let Ok(hint) = self.events.try_recv() {
            is_whole &= hint != Hint::Partial;
        }
        Some(is_whole)
    }

    /// Waits for quiet, a completing rename, or the longest wait.
    async fn quiet(&mut self) {
        let quiet = async {
            while let Ok(Some(Hint::Partial)) = timeout(QUIET, self.events.recv()).await {}
        };
        // A file that is written without end is looked at all the same.
        let _ = timeout(LONGEST_QUIET, quiet).await;
    }
}

/// Whether a watched folder was deleted or moved away.
fn ends_watch(watched: &[PathBuf], event: &Event) -> bool {
    let is_gone = matches!(
        event.kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
    );
    is_gone && event.paths.iter().any(|path| watched.contains(path))
}

fn hint(part: &Part, watched: &[PathBuf], event: notify::Result<Event>) -> Option<Hint> {
    let Ok(event) = event else {
        return Some(Hint::Partial);
    };
    match event.kind {
        // notify reports our own opening of the files; acting on it would go round in circles.
        EventKind::Access(_) => None,
        EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both))
            if event.paths.iter().any(|path| part.completes(path)) =>
        {
            let is_file = |path: &PathBuf| part.paths().contains(&path.as_path());
            let is_one = event.paths.iter().any(is_file);
            Some(if is_one { Hint::Renamed } else { Hint::Swapped })
        }
        _ if event.need_rescan()
            || event
                .paths
                .iter()
                .any(|path| part.concerns(path) || watched.contains(path)) =>
        {
            Some(Hint::Partial)
        }
        _ => None,
    }
}

fn identity(folder: &Path) -> Option<Identity> {
    std::fs::metadata(folder)
        .ok()
        .map(|meta| (meta.dev(), meta.ino()))
}

/// After an event that may be half of a write.
const QUIET: Duration = Duration::from_millis(150);
/// The most to wait for quiet.
const LONGEST_QUIET: Duration = Duration::from_secs(2);
/// After a file was renamed into place, for the one that belongs to it: `mv` of a certificate, `mv` of its key.
const TOGETHER: Duration = Duration::from_millis(30);

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, Flag};

    use super::*;

    fn part() -> Part {
        let source = crate::Source::Directory("/tls".into());
        Part::group(&[source], None, None).remove(0)
    }

    fn told(kind: EventKind, path: &str) -> Option<Hint> {
        hint(&part(), &[], Ok(Event::new(kind).add_path(path.into())))
    }

    #[test]
    fn an_atomic_rename_needs_no_quiet_and_a_write_does() {
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let created = EventKind::Create(CreateKind::Any);
        assert_eq!(told(renamed, "/tls/..data"), Some(Hint::Swapped));
        assert_eq!(told(renamed, "/tls"), Some(Hint::Swapped));
        assert_eq!(told(renamed, "/tls/tls.crt"), Some(Hint::Renamed));
        assert_eq!(told(written, "/tls/tls.crt"), Some(Hint::Partial));
        assert_eq!(told(created, "/tls/..2026_11_22"), Some(Hint::Partial));
        assert_eq!(told(written, "/tls/unrelated"), None);
        let opened = EventKind::Access(notify::event::AccessKind::Any);
        assert_eq!(told(opened, "/tls/tls.crt"), None);
    }

    #[test]
    fn a_queue_that_overflowed_or_failed_makes_us_look() {
        let overflowed = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert_eq!(hint(&part(), &[], Ok(overflowed)), Some(Hint::Partial));
        let failed = notify::Error::generic("gone");
        assert_eq!(hint(&part(), &[], Err(failed)), Some(Hint::Partial));
    }
}
