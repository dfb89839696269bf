//! What is served now, and the one way to change it.
//!
//! A reload reads, proves, compares, and only then publishes, with one atomic store. Whatever fails before that store
//! leaves everything as it was. Attempts are serialised; connections never wait for one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;

use crate::attempt::{Attempt, Counts, History, Outcome, Trigger};
use crate::bundle::Bundle;
use crate::error::LoadError;
use crate::server_config::Policy;
use crate::source::Source;

/// One proven set of certificate, key and policy. Number 0 is the one before the first certificate: it refuses every
/// handshake.
#[derive(Debug)]
pub struct Generation {
    /// Counts up from 1 with each published change.
    pub number: u64,
    /// What a connection handshakes with. Taken once, at accept.
    pub config: Arc<ServerConfig>,
    /// The certificate, or none before the first.
    pub bundle: Option<Bundle>,
    /// When it was published.
    pub since: SystemTime,
}

/// The certificate store.
pub struct Store {
    source: Source,
    policy: Policy,
    current: ArcSwap<Generation>,
    attempting: Mutex<()>,
    history: Mutex<History>,
    observer: Box<dyn Fn(&Attempt) + Send + Sync>,
}

impl Store {
    /// An empty store, which refuses every handshake until [`Store::reload`] has succeeded once. `observer` is told of
    /// every attempt, with no lock that [`Store::current`] needs being held.
    ///
    /// # Errors
    /// When the policy itself is impossible.
    pub fn new(
        source: Source,
        policy: Policy,
        observer: impl Fn(&Attempt) + Send + Sync + 'static,
    ) -> Result<Self, rustls::Error> {
        let nothing = Generation {
            number: 0,
            config: Arc::new(policy.server_config(None)?),
            bundle: None,
            since: SystemTime::now(),
        };
        Ok(Self {
            source,
            policy,
            current: ArcSwap::from_pointee(nothing),
            attempting: Mutex::default(),
            history: Mutex::default(),
            observer: Box::new(observer),
        })
    }

    /// What is served now. Lock-free; a connection calls it once.
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Where the certificate comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// How attempts ended so far.
    pub fn counts(&self) -> Counts {
        self.history().counts
    }

    /// The last attempt that was not a mere look at unchanged files.
    pub fn last_attempt(&self) -> Option<Attempt> {
        self.history().last.clone()
    }

    /// When the files on disk were last found to be what is served.
    pub fn last_success(&self) -> Option<SystemTime> {
        self.history().last_success
    }

    /// Reads the files, proves them and publishes them if they changed. Blocks on the file system: not for a worker.
    pub fn reload(&self, trigger: Trigger) -> Attempt {
        let attempt = {
            // Attempts come one after the other. The history is locked only in between, so that whoever asks for it
            // never waits for a file system that hangs.
            let _one_at_a_time = self
                .attempting
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.attempt(trigger)
        };
        (self.observer)(&attempt);
        attempt
    }

    fn attempt(&self, trigger: Trigger) -> Attempt {
        let before = self.current.load();
        let old = before
            .bundle
            .as_ref()
            .map(|bundle| bundle.leaf().sha256.clone());
        let served = self.history().digest;
        let loaded = self.load(served, before.number + 1);
        let mut history = self.history();
        let outcome = match loaded {
            Ok(Some((digest, generation))) => {
                let generation = Arc::new(generation);
                self.current.store(Arc::clone(&generation));
                history.digest = Some(digest);
                Outcome::Published(generation)
            }
            Ok(None) => Outcome::Unchanged,
            Err(error) => Outcome::Failed(Arc::new(error)),
        };
        // Somebody who asks wants to be told, however well it is known already.
        let is_asked_for = matches!(trigger, Trigger::Admin | Trigger::Signal);
        let repeated = !is_asked_for && history.fails_as(&outcome);
        let attempt = Attempt {
            at: SystemTime::now(),
            trigger,
            old,
            outcome,
            repeated,
        };
        history.remember(&attempt);
        attempt
    }

    /// The next generation, or none when the files are those already served.
    fn load(
        &self,
        served: Option<[u8; 32]>,
        number: u64,
    ) -> Result<Option<([u8; 32], Generation)>, LoadError> {
        let snapshot = self.source.read()?;
        let digest = snapshot.digest();
        if served == Some(digest) {
            return Ok(None);
        }
        let bundle = Bundle::prove(&snapshot, self.policy.provider())?;
        let config =
            self.policy
                .server_config(Some(&bundle))
                .map_err(|error| LoadError::Refused {
                    path: snapshot.certificate.0.clone(),
                    error,
                })?;
        let generation = Generation {
            number,
            config: Arc::new(config),
            bundle: Some(bundle),
            since: SystemTime::now(),
        };
        Ok(Some((digest, generation)))
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        // A panic while holding it leaves plain values behind; they are still true.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("source", &self.source)
            .field("generation", &self.current.load().number)
            .finish_non_exhaustive()
    }
}
