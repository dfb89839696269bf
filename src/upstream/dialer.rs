//! What connecting to a target needs to know: where this process itself listens, the limits, and how many connections may be
//! open at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::targets::OwnPorts;
use crate::config::Limits;

/// The same for all workers.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(super) own: Arc<OwnPorts>,
    pub(super) limits: Limits,
    open: Arc<AtomicUsize>,
}

/// One connection's place; dropped with it.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Dialer {
    pub(crate) fn new(own: Arc<OwnPorts>, limits: Limits) -> Self {
        Self {
            own,
            limits,
            open: Arc::default(),
        }
    }

    /// Connections that are open, or about to be.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// None when as many connections are open as may be: what is left of the file descriptors is for clients, probes and
    /// the operator.
    pub(super) fn place(&self) -> Option<Place> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.open));
        (before < self.limits.max_upstream).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
