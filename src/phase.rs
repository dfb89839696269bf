//! Where the process is in its life. It only moves forward, so a late certificate cannot revive a draining sidecar.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::watch;

/// The phases in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Not everything that readiness needs is there.
    Starting,
    /// Serving.
    Ready,
    /// Not ready any more, still accepting: endpoints are being told.
    Announcing,
    /// Accepting no more; requests in flight finish.
    Finishing,
    /// Out of time: what is left is cut.
    Cutting,
    /// Over.
    Stopped,
}

impl Phase {
    /// The word an operator sees.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Announcing | Self::Finishing | Self::Cutting => "draining",
            Self::Stopped => "stopped",
        }
    }

    fn of(number: u8) -> Self {
        [
            Self::Starting,
            Self::Ready,
            Self::Announcing,
            Self::Finishing,
            Self::Cutting,
        ]
        .into_iter()
        .find(|phase| *phase as u8 == number)
        .unwrap_or(Self::Stopped)
    }
}

/// The current phase, to be read at no cost by the workers and to be waited for.
#[derive(Debug)]
pub(crate) struct Life {
    /// Read on the request path, so not through the channel, whose lock all workers would share.
    now: AtomicU8,
    changes: watch::Sender<Phase>,
    /// Connections that were cut, once that is known.
    cut: OnceLock<usize>,
}

impl Life {
    /// A life that begins.
    pub(crate) fn new() -> Self {
        Self {
            now: AtomicU8::new(Phase::Starting as u8),
            changes: watch::channel(Phase::Starting).0,
            cut: OnceLock::new(),
        }
    }

    /// The phase now.
    pub(crate) fn phase(&self) -> Phase {
        Phase::of(self.now.load(Ordering::Relaxed))
    }

    /// Moves forward to `phase`; a step back is ignored.
    pub(crate) fn advance(&self, phase: Phase) {
        self.changes.send_if_modified(|current| {
            let forward = phase > *current;
            if forward {
                *current = phase;
                self.now.store(phase as u8, Ordering::Relaxed);
            }
            forward
        });
    }

    /// It is over, and so many connections had to be cut.
    pub(crate) fn stop(&self, cut: usize) {
        // It ends once.
        let _ = self.cut.set(cut);
        self.advance(Phase::Stopped);
    }

    /// Connections that had to be cut; none before that is known.
    pub(crate) fn cut(&self) -> Option<usize> {
        self.cut.get().copied()
    }

    /// Waits until `phase` is reached or passed.
    pub(crate) async fn reached(&self, phase: Phase) {
        let mut changes = self.changes.subscribe();
        // The sender is in `self`, so the channel cannot close meanwhile.
        let _ = changes.wait_for(|current| *current >= phase).await;
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}
