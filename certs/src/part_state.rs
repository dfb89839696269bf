//! One part and what is known of it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::attempt::History;
use crate::source::Part;
use crate::store::lock;

/// One part and what is known of it.
pub(crate) struct PartState {
    pub(crate) part: Part,
    pub(crate) label: Arc<str>,
    /// Why it can never change on disk, if so. Found out at the first attempt.
    dead_mount: OnceLock<Option<String>>,
    pub(crate) attempting: Mutex<()>,
    /// Locked only in between, so that whoever asks never waits for a file system that hangs.
    history: Mutex<History>,
    /// Whether the kernel tells of changes.
    pub(crate) is_watched: AtomicBool,
}

impl PartState {
    pub(crate) fn new(part: Part) -> Self {
        Self {
            label: part.label.as_str().into(),
            dead_mount: OnceLock::new(),
            part,
            attempting: Mutex::default(),
            history: Mutex::default(),
            is_watched: AtomicBool::default(),
        }
    }

    /// Why it can never change on disk, if so, as far as it was looked at.
    pub(crate) fn dead_mount(&self) -> Option<&str> {
        self.dead_mount.get()?.as_deref()
    }

    pub(crate) fn look_at_mount(&self) {
        self.dead_mount.get_or_init(|| {
            let why = self.part.dead_mount();
            if let Some(why) = &why {
                tracing::warn!("{why}");
            }
            why
        });
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }
}
