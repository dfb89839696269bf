//! One open request in the books: what it was made for, and what has happened around it.

use std::time::Instant;

use crate::plan::Plan;
use crate::verdict::{Outcome, Record};

pub(crate) struct Entry {
    pub(crate) plan: Plan,
    pub(crate) began: Instant,
    /// The applications it may go to, as bits.
    pub(crate) targets: u8,
    /// The application has read its head.
    pub(crate) is_at_app: bool,
    /// The application was restarted while it worked on it.
    pub(crate) is_killed: bool,
    /// An unused connection was ended by the application meanwhile: what may not be sent again can have met that.
    pub(crate) met_close: bool,
    /// All connections were: it may have been on one of them, unread.
    pub(crate) met_restart: bool,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) record: Option<Record>,
}

impl Entry {
    pub(crate) fn new(plan: Plan, targets: u8) -> Self {
        Self {
            plan,
            began: Instant::now(),
            targets,
            is_at_app: false,
            is_killed: false,
            met_close: false,
            met_restart: false,
            outcome: None,
            record: None,
        }
    }

    /// An application has ended connections: unused ones, or all.
    pub(crate) fn met(&mut self, is_restart: bool) {
        self.met_close = true;
        self.met_restart |= is_restart;
    }

    /// What is known of it, for whoever looks for the fault.
    pub(crate) fn story(&self) -> String {
        format!(
            "{:?}, {} s ago, may go to {:#b}, seen by the application: {}, killed: {}, met a close: {}, a restart: {}",
            self.plan,
            self.began.elapsed().as_secs(),
            self.targets,
            self.is_at_app,
            self.is_killed,
            self.met_close,
            self.met_restart
        )
    }
}
