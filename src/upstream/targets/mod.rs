//! The target in force and the one way to change it: parse, refuse, probe, swap. A refused change changes nothing, and one that
//! wants to be confirmed is undone when it is not, or when its application fails.

mod change;
mod own;
mod refusals;
mod trial;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex as TurnMutex, Notify, Semaphore};

use super::target::{Target, TargetUrl};

pub(crate) use change::{Change, Changed, Checked, Probe};
pub(crate) use own::{OwnPorts, OwnSocket};
pub(crate) use refusals::{Refused, refuse, refuse_address};
pub(crate) use trial::Rollback;
use trial::Trial;

/// The configured target, the one in force, and the rules for changing it.
#[derive(Debug)]
pub(crate) struct Targets {
    configured: TargetUrl,
    current: Arc<ArcSwap<Target>>,
    own: Arc<OwnPorts>,
    allow_remote: bool,
    /// Nobody may change it.
    locked: bool,
    connect_timeout: Duration,
    /// Changes come one after the other. A rollback does not wait for one that is just being probed.
    turn: TurnMutex<()>,
    /// Places for those who change it, or wait for their turn.
    waiting: Semaphore,
    state: Mutex<State>,
    /// Wakes the one who watches over a trial.
    changed: Notify,
}

/// What is written only together with the target in force.
#[derive(Debug)]
struct State {
    /// Counts every change of this, so that two who change it notice each other.
    revision: u64,
    /// What a rollback goes back to: the last one that needed no confirmation, or got it.
    settled: TargetUrl,
    trial: Option<Trial>,
    last_rollback: Option<Rollback>,
}

/// Everything there is to say of the target, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) revision: u64,
    pub(crate) current: Arc<Target>,
    pub(crate) settled: TargetUrl,
    pub(crate) trial: Option<Trial>,
    pub(crate) last_rollback: Option<Rollback>,
}

impl Targets {
    /// Starts with the configured target in force.
    ///
    /// # Errors
    /// When the target is one of this process's own listeners.
    pub(crate) fn new(
        configured: TargetUrl,
        own: OwnPorts,
        allow_remote: bool,
        locked: bool,
        connect_timeout: Duration,
    ) -> Result<Self, String> {
        let current = Arc::new(ArcSwap::from_pointee(Target::new(1, configured.clone())));
        let targets = Self {
            current,
            own: Arc::new(own),
            allow_remote,
            locked,
            connect_timeout,
            turn: TurnMutex::new(()),
            waiting: Semaphore::new(MOST_WAITING),
            state: Mutex::new(State {
                revision: 1,
                settled: configured.clone(),
                trial: None,
                last_rollback: None,
            }),
            changed: Notify::new(),
            configured,
        };
        targets
            .refuse_loop(&targets.configured)
            .map_err(|Refused(_, why)| why)?;
        Ok(targets)
    }

    /// The target from the configuration.
    pub(crate) fn configured(&self) -> &TargetUrl {
        &self.configured
    }

    /// The target in force.
    pub(crate) fn current(&self) -> Arc<Target> {
        self.current.load_full()
    }

    /// Whether it stays what it is configured to be.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Whether the target in force is not the configured one.
    pub(crate) fn has_drifted(&self) -> bool {
        self.current().url != self.configured
    }

    /// For a worker's own cache of the target in force.
    pub(crate) fn shared(&self) -> Arc<ArcSwap<Target>> {
        Arc::clone(&self.current)
    }

    pub(crate) fn own(&self) -> Arc<OwnPorts> {
        Arc::clone(&self.own)
    }

    /// What is in force, and what becomes of it.
    pub(crate) fn standing(&self) -> Standing {
        let state = self.state();
        Standing {
            revision: state.revision,
            current: self.current(),
            settled: state.settled.clone(),
            trial: state.trial.clone(),
            last_rollback: state.last_rollback.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Written in one go each time: there is nothing half done that a panic could leave.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `url` in force for every request that starts from now on. The number is new also for a URL that was in force
    /// before: connections of another time are not used again.
    fn swap(&self, url: TargetUrl, is_trial: bool) -> Arc<Target> {
        let number = self.current().number + 1;
        let target = Arc::new(if is_trial {
            Target::on_trial(number, url)
        } else {
            Target::new(number, url)
        });
        self.current.store(Arc::clone(&target));
        target
    }

    fn refuse_loop(&self, url: &TargetUrl) -> Result<(), Refused> {
        if !self.own.are_target(url) {
            return Ok(());
        }
        let why = format!("the target {url} is Portcullis itself; give the application's own port");
        Err(Refused("loop", why))
    }
}

impl State {
    /// From now on it is another one.
    fn revise(&mut self) {
        self.revision += 1;
    }

    /// This one is in force for good; a trial is over.
    fn settle(&mut self, url: TargetUrl) {
        self.settled = url;
        self.trial = None;
        self.revise();
    }
}

/// Changes at once: one that is probed, and who waits for it.
const MOST_WAITING: usize = 4;
