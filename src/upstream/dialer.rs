//! What connecting to a target needs to know: where this process itself listens, the limits, how many connections may be open
//! at once, and how many long responses may be read in large pieces.

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
    large: Places,
}

impl Dialer {
    pub(crate) fn new(own: Arc<OwnPorts>, limits: Limits) -> Self {
        Self {
            own,
            places: Places::new(limits.capacity.upstream),
            large: Places::new((limits.capacity.requests / 8).clamp(1, MOST_LARGE)),
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

    /// Room for the response of one connection to be read in large pieces, as long as there is some.
    pub(super) fn large(&self) -> Places {
        self.large.clone()
    }
}

/// Responses read in large pieces at once. A client that stops reading in the middle of one keeps half a MiB of it waiting; an
/// eighth of the requests there is room for may do that, and all together keep no more than is counted for them.
const MOST_LARGE: usize = 16;
