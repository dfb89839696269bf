//! Reloading when the files change, for as long as the process lives.
//!
//! Three sources of a trigger, because each alone has failed somebody:
//! - inotify on the *folder*. A watch on the file or on `..data` goes silent after the first swap.
//! - a poll behind it. `fs.inotify.max_user_instances` is shared by everybody on a node, `subPath` mounts and some file
//!   systems never notify.
//! - the caller's own triggers (SIGHUP, the admin plane), which call [`Store::reload`] themselves.
//!
//! A rename onto `..data` or onto a watched file completes a replacement and is acted on at once. Any other event may be
//! one half of a write, so quiet is awaited first. Nothing in here ends the loop.

use std::convert::Infallible;
use std::future::pending;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::attempt::{Attempt, Outcome, Trigger};
use crate::source::Part;
use crate::store::Store;

/// Watches all parts for ever, beginning with a look at each. Each has a loop of its own, so that one that is broken, or on
/// a file system that hangs, does not stop the others.
pub async fn watch(store: Arc<Store>) -> Infallible {
    let mut loops = JoinSet::new();
    for number in 0..store.parts.len() {
        let store = Arc::clone(&store);
        loops.spawn(async move {
            loop {
                // A task of its own: a panic would be a defect, and must not be the end of all renewals.
                let watching = tokio::spawn(watch_part(Arc::clone(&store), number));
                let Err(error) = watching.await;
                tracing::error!(%error, "watching a certificate failed; beginning again");
                sleep(POLL_BLIND).await;
            }
        });
    }
    while loops.join_next().await.is_some() {}
    // Only without a part.
    pending().await
}

async fn watch_part(store: Arc<Store>, number: usize) -> Infallible {
    let mut watch = Watch::new(store.parts[number].part.clone());
    // After a failure, how long until the next look: a write may be in progress.
    let mut again: Option<Duration> = None;
    loop {
        let is_watching;
        (watch, is_watching) = open(watch).await;
        let period = match (is_watching, again) {
            (true, None) => POLL,
            (true, Some(again)) => again,
            (false, again) => again.unwrap_or(POLL_BLIND).min(POLL_BLIND),
        };
        let (trigger, is_settled) = match timeout(period, watch.events.recv()).await {
            Err(_) => (Trigger::Poll, false),
            Ok(Some(Hint::Complete)) => (Trigger::Notify, true),
            // The channel cannot close while `watch` holds a sender; treat it as a poll all the same.
            Ok(None) => (Trigger::Poll, false),
            Ok(Some(Hint::Partial)) => (Trigger::Notify, watch.quiet().await),
        };
        watch.forget();
        let attempted = attempt(&store, number, trigger, is_settled).await;
        let is_well = attempted
            .as_ref()
            .is_some_and(|attempt| !matches!(attempt.outcome, Outcome::Failed(_)));
        if let Some(attempt) = attempted {
            // Nobody waits for that: the next swap may be there already.
            let store = Arc::clone(&store);
            spawn_blocking(move || store.look(number, attempt));
        }
        again = if is_well {
            None
        } else if trigger == Trigger::Poll {
            Some(again.map_or(FIRST_AGAIN, |again| (again * 2).min(POLL)))
        } else {
            Some(FIRST_AGAIN)
        };
    }
}

/// Off the runtime, as everything that touches the file system: a hanging network mount must not stop probes and signals.
async fn open(mut watch: Watch) -> (Watch, bool) {
    let opened = spawn_blocking(move || {
        let is_watching = watch.open();
        (watch, is_watching)
    });
    match opened.await {
        Ok(opened) => opened,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn attempt(
    store: &Arc<Store>,
    number: usize,
    trigger: Trigger,
    is_settled: bool,
) -> Option<Attempt> {
    let store = Arc::clone(store);
    spawn_blocking(move || store.attempt(number, trigger, is_settled))
        .await
        .ok()
}

/// What an event says about the state of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    /// A rename put the new thing in place whole.
    Complete,
    /// Something was written, created or removed; more may follow.
    Partial,
}

/// The inotify side: which folders are watched, and what they told.
struct Watch {
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
    fn new(part: Part) -> Self {
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
    fn open(&mut self) -> bool {
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

    /// Waits for quiet, a completing rename, or the longest wait. True when it was the rename.
    async fn quiet(&mut self) -> bool {
        let settled = async {
            loop {
                match timeout(QUIET, self.events.recv()).await {
                    Ok(Some(Hint::Partial)) => {}
                    Ok(Some(Hint::Complete)) => return true,
                    Ok(None) | Err(_) => return false,
                }
            }
        };
        // A file that is written without end is looked at all the same.
        timeout(LONGEST_QUIET, settled).await.unwrap_or(false)
    }

    /// Drops the hints that came before the read which is about to start.
    fn forget(&mut self) {
        while self.events.try_recv().is_ok() {}
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
            Some(Hint::Complete)
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

/// Behind a working watch.
const POLL: Duration = Duration::from_secs(30);
/// Without a watch.
const POLL_BLIND: Duration = Duration::from_secs(1);
/// After a failure; doubled with each failed look that follows, up to [`POLL`].
const FIRST_AGAIN: Duration = Duration::from_millis(250);
/// After an event that may be half of a write.
const QUIET: Duration = Duration::from_millis(150);
/// The most to wait for quiet.
const LONGEST_QUIET: Duration = Duration::from_secs(2);

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
        assert_eq!(told(renamed, "/tls/..data"), Some(Hint::Complete));
        assert_eq!(told(renamed, "/tls/tls.crt"), Some(Hint::Complete));
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
