//! What connecting to a target needs to know: where this process itself listens, the limits, and how many connections may be
//! open at once.

use std::sync::Arc;

use super::targets::OwnPorts;
use crate::config::Limits;
use crate::places::{Place, Places};

/// The same for all workers.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(super) own: Arc<OwnPorts>,
    pub(super) limits: Limits,
    places: Places,
}

impl Dialer {
    pub(crate) fn new(own: Arc<OwnPorts>, limits: Limits) -> Self {
        Self {
            own,
            places: Places::new(limits.capacity.upstream),
            limits,
        }
    }

    /// Connections that are open, or about to be.
    pub(crate) fn open(&self) -> usize {
        self.places.taken()
    }

    /// None when as many connections are open as may be: what is left of the file descriptors is for clients, probes and
    /// the operator.
    pub(super) fn place(&self) -> Option<Place> {
        self.places.take()
    }
}
