//! Where the process is in its life. It only moves forward, so a late certificate cannot revive a draining sidecar.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use tokio::sync::watch;

use crate::drain::Drained;

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

    /// The same in more detail, where it drains.
    pub(crate) fn step(self) -> Option<&'static str> {
        match self {
            Self::Starting | Self::Ready => None,
            Self::Announcing => Some("announcing"),
            Self::Finishing => Some("finishing"),
            Self::Cutting => Some("cutting"),
            Self::Stopped => Some("over"),
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
    /// When what is not finished will be cut, once there is a drain.
    cutting_at: OnceLock<Instant>,
    /// What became of the connections, once that is known.
    drained: OnceLock<Drained>,
}

impl Life {
    /// A life that begins.
    pub(crate) fn new() -> Self {
        Self {
            now: AtomicU8::new(Phase::Starting as u8),
            changes: watch::channel(Phase::Starting).0,
            cutting_at: OnceLock::new(),
            drained: OnceLock::new(),
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

    /// A drain begins, and what is not finished by then will be cut.
    pub(crate) fn drain_until(&self, cutting_at: Instant) {
        // It begins once.
        let _ = self.cutting_at.set(cutting_at);
        self.advance(Phase::Announcing);
    }

    /// When what is not finished will be cut; none before a drain.
    pub(crate) fn cutting_at(&self) -> Option<Instant> {
        self.cutting_at.get().copied()
    }

    /// It is over, with this result.
    pub(crate) fn stop(&self, drained: Drained) {
        // It ends once.
        let _ = self.drained.set(drained);
        self.advance(Phase::Stopped);
    }

    /// What became of the connections; none before that is known.
    pub(crate) fn drained(&self) -> Option<&Drained> {
        self.drained.get()
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
