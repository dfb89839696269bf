//! What is served now, and the one way to change it.
//!
//! An attempt reads a part, proves it, compares it with what is served, and only then publishes, with one atomic store.
//! Whatever fails before that store leaves everything as it was. Attempts at one part are serialised, other parts do not
//! wait for them, and connections wait for nothing.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use time::OffsetDateTime;

use crate::attempt::{Attempt, Confirmation, Outcome, Trigger};
use crate::confirm::{OwnListener, confirm};
use crate::error::LoadError;
use crate::facts::Facts;
use crate::generation::Generation;
use crate::part_state::PartState;
use crate::proven::{Proven, leaf_on_disk};
use crate::server_config::Policy;
use crate::setup::Setup;
use crate::source::Snapshot;

/// Is told what happens in the room. No lock that [`Store::current`] needs is held meanwhile.
pub trait Observer: Send + Sync {
    /// An attempt has ended; what it published is served from now on. Told in the order of the attempts at a part.
    fn attempted(&self, attempt: &Attempt);
    /// What an attempt published was looked at with a client's eyes.
    fn looked(&self, attempt: &Attempt, seen: &Confirmation);
}

/// The certificate store.
pub struct Store {
    policy: Policy,
    pub(crate) parts: Vec<PartState>,
    current: ArcSwap<Generation>,
    /// Held while a generation is put together out of what is served and one new part.
    publishing: Mutex<()>,
    listener: OnceLock<Box<dyn OwnListener>>,
    observer: Box<dyn Observer>,
}

impl Store {
    /// An empty store, which refuses every handshake until there is something to serve.
    ///
    /// # Errors
    /// When the policy itself is impossible.
    pub fn new(setup: Setup, observer: impl Observer + 'static) -> Result<Self, String> {
        let parts = setup.parts().into_iter().map(PartState::new).collect();
        let policy = Policy::new(setup);
        let nothing = vec![None; policy.setup.sources.len()];
        let nothing = Generation::new(0, nothing, None, &policy)?;
        Ok(Self {
            policy,
            parts,
            current: ArcSwap::from_pointee(nothing),
            publishing: Mutex::default(),
            listener: OnceLock::new(),
            observer: Box::new(observer),
        })
    }

    /// How to reach the own listener, so that what is published can be seen with a client's eyes. Said once.
    pub fn dials(&self, listener: impl OwnListener + 'static) {
        // A second listener would be a mistake of the caller that changes nothing.
        let _ = self.listener.set(Box::new(listener));
    }

    /// What is served now. Lock-free; a connection calls it once.
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// What it was told.
    pub fn setup(&self) -> &Setup {
        &self.policy.setup
    }

    /// Whether session tickets are made with a shared seed.
    pub fn has_ticket_seed(&self) -> bool {
        self.policy.tickets.seed().is_some()
    }

    /// Looks at all parts and publishes what changed; calls `looked`; and then looks at what was published with a client's
    /// eyes. Blocks on the file system: not for a worker.
    pub fn reload(&self, trigger: Trigger, looked: impl FnOnce()) -> Vec<Attempt> {
        let attempts: Vec<_> = (0..self.parts.len())
            .map(|number| self.attempt(number, trigger, true))
            .collect();
        looked();
        let look = |(number, attempt)| self.look(number, attempt);
        attempts.into_iter().enumerate().map(look).collect()
    }

    /// Reads one part, proves it and publishes it if it changed. To be followed by [`Store::look`].
    /// `is_settled`: what is on disk is known to be whole, however it looks.
    pub(crate) fn attempt(&self, number: usize, trigger: Trigger, is_settled: bool) -> Attempt {
        let state = &self.parts[number];
        let _one_at_a_time = lock(&state.attempting);
        state.look_at_mount();
        let attempt = self.try_one(state, trigger, is_settled);
        self.observer.attempted(&attempt);
        attempt
    }

    fn try_one(&self, state: &PartState, trigger: Trigger, is_settled: bool) -> Attempt {
        let old = self.fingerprint(state);
        let served = state.history().digest;
        let snapshot = state.part.read();
        let on_disk = snapshot
            .as_ref()
            .ok()
            .and_then(|snapshot| leaf_on_disk(&state.part, snapshot));
        let open_secret = state.part.open_secret();
        let loaded = snapshot.and_then(|snapshot| {
            let digest = snapshot.digest();
            if served == Some(digest) {
                return Ok(None);
            }
            let loaded = self.load(state, &snapshot, is_settled)?;
            state.history().digest = Some(digest);
            Ok(Some(loaded))
        });
        let (outcome, mut warnings) = match loaded {
            Ok(Some((generation, warnings))) => (Outcome::Published(generation), warnings),
            Ok(None) => (Outcome::Unchanged, Vec::new()),
            Err(error) => (Outcome::Failed(Arc::new(error)), Vec::new()),
        };
        if matches!(outcome, Outcome::Published(_)) {
            warnings.extend(open_secret.clone());
        }
        let refused = on_disk
            .as_ref()
            .filter(|_| matches!(outcome, Outcome::Failed(_)))
            .map(|leaf: &Facts| leaf.sha256.clone());
        let mut history = state.history();
        let attempt = Attempt {
            part: Arc::clone(&state.label),
            at: SystemTime::now(),
            trigger,
            old,
            new: self.fingerprint(state),
            refused,
            repeated: !trigger.is_asked_for() && history.fails_as(&outcome),
            recovered: matches!(outcome, Outcome::Unchanged) && history.failure().is_some(),
            warnings,
            outcome,
            confirmation: None,
        };
        if !matches!(&attempt.outcome, Outcome::Failed(error) if error.is_unsettled()) {
            history.settling.is_over();
        }
        (history.on_disk, history.open_secret) = (on_disk, open_secret);
        history.remember(&attempt, self.current.load().number);
        attempt
    }

    /// Proves a part's bytes against what is served, and publishes.
    fn load(
        &self,
        state: &PartState,
        snapshot: &Snapshot,
        is_settled: bool,
    ) -> Result<(Arc<Generation>, Vec<String>), LoadError> {
        let (part, now) = (&state.part, OffsetDateTime::now_utc());
        let proven = Proven::from(part, snapshot, &self.policy.provider)?;
        let _one_at_a_time = lock(&self.publishing);
        let before = self.current();
        let mut warnings = proven.warnings(now);
        let mut losses = Vec::new();
        let (mut certificates, mut trust) = (before.certificates.clone(), before.trust.clone());
        if let (Some(new), Some(pair)) = (proven.bundle, &part.pair) {
            let old = certificates[pair.place].replace(Arc::clone(&new));
            new.may_follow(old.as_deref(), now)?;
            losses.extend(old.iter().flat_map(|old| new.losses(old)));
        }
        if let (Some(new), Some(files)) = (proven.trust, &part.trust) {
            let old = trust.replace(Arc::clone(&new));
            new.may_follow(files.crl.as_ref().unwrap_or(&files.ca), old.as_deref(), now)?;
            losses.extend(old.iter().flat_map(|old| new.losses(old)));
        }
        if !is_settled && !part.is_swapped() {
            // Of a seed nobody can tell a half from the whole.
            let half = losses.iter().find(|loss| loss.may_be_half);
            let is_seed = proven.seed.is_some();
            let digest = snapshot.digest();
            if (is_seed || half.is_some()) && !state.history().settling.has_stood(digest) {
                return Err(LoadError::Unsettled {
                    label: state.label.to_string(),
                    loss: half
                        .map_or("it is another seed", |loss| &loss.words)
                        .to_owned(),
                });
            }
        }
        warnings.extend(losses.into_iter().map(|loss| loss.words));
        if let Some(seed) = proven.seed {
            self.policy.tickets.reseed(seed);
            return Ok((before, warnings));
        }
        let number = before.number + 1;
        let generation = Generation::new(number, certificates, trust, &self.policy)
            .map_err(|error| LoadError::malformed(part.paths()[0], &error))?;
        let generation = Arc::new(generation);
        self.current.store(Arc::clone(&generation));
        Ok((generation, warnings))
    }

    /// Looks at what was published with a client's eyes.
    pub(crate) fn look(&self, number: usize, mut attempt: Attempt) -> Attempt {
        let state = &self.parts[number];
        if let Outcome::Published(generation) = &attempt.outcome
            && let Some(pair) = &state.part.pair
        {
            let seen = match self.listener.get() {
                Some(listener) => {
                    confirm(listener.as_ref(), pair.place, generation, || self.current())
                }
                None => Confirmation::Unverified("nobody listens".to_owned()),
            };
            self.observer.looked(&attempt, &seen);
            attempt.confirmation = Some(seen);
            state.history().confirm(&attempt);
        }
        attempt
    }

    /// Of what a part serves now.
    fn fingerprint(&self, state: &PartState) -> Option<String> {
        let current = self.current.load();
        match &state.part.pair {
            Some(pair) => {
                let bundle = current.certificates[pair.place].as_ref()?;
                Some(bundle.leaf().sha256.clone())
            }
            None if state.part.trust.is_some() => {
                current.trust.as_ref().map(|trust| trust.sha256())
            }
            None => self.policy.tickets.seed(),
        }
    }
}

/// A panic while holding one of these leaves plain values behind; they are still true.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("setup", &self.policy.setup)
            .field("generation", &self.current.load().number)
            .finish_non_exhaustive()
    }
}
