//! Composition: bind everything, then start everything, then wait for the end.

use std::convert::Infallible;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use portcullis_admin::{admin, probe, serve};
use portcullis_certs::{Store, Trigger, watch as watch_certificates};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::addresses::Addresses;
use crate::config::Config;
use crate::drain::{Drained, Patience, drain};
use crate::listener::{Gate, bind};
use crate::logging::Logging;
use crate::own_dials::{FrontDoor, OwnDials};
use crate::phase::Life;
use crate::signals::{Rotation, Signals, Wish};
use crate::upstream::Targets;
use crate::wiring::{House, Teller};
use crate::worker::{self, Doors, Shared};

/// Everything is bound and nothing runs yet.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    doors: Doors,
    admin: StdListener,
    probe: StdListener,
    /// The addresses in use, with the ports the system picked.
    pub addresses: Addresses,
}

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything in flight was finished.
    Clean,
    /// Connections had to be cut.
    Cut,
}

/// Binds all listeners.
///
/// # Errors
/// All that could not be bound, each with the address and a hint.
pub fn bind_all(config: Config) -> Result<Bound, Vec<String>> {
    let mut errors = Vec::new();
    let mut open = |what, address| match bind(what, address) {
        Ok(listener) => Some(listener),
        Err(error) => {
            errors.push(error);
            None
        }
    };
    let https = open("the HTTPS listener (--listen)", config.listen);
    let redirect = config
        .redirect
        .map(|address| open("the redirect listener (--redirect)", address));
    let admin = open("the admin plane (--admin)", config.admin);
    let probe = open("the probe plane (--probe)", config.probe);
    let (Some(https), Some(admin), Some(probe), true) = (https, admin, probe, errors.is_empty())
    else {
        return Err(errors);
    };
    let doors = Doors {
        https,
        redirect: redirect.flatten(),
    };
    let addresses = Addresses::of(&doors, &admin, &probe)
        .map_err(|error| vec![format!("asking for own addresses: {error}")])?;
    Ok(Bound {
        config,
        doors,
        admin,
        probe,
        addresses,
    })
}

impl Bound {
    /// What it is to do.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Serves until a signal ends it.
    ///
    /// # Errors
    /// What kept it from starting, or a thread or runtime that the system refused.
    pub fn run(self, logging: &Logging) -> Result<End, String> {
        let targets = self.targets()?;
        let life = Arc::new(Life::new());
        let (told, generations) = watch::channel(0);
        let teller = Teller::new(&self.config, Arc::clone(&life), told);
        let certificates = Store::new(self.config.certificates.clone(), teller)
            .map_err(|error| format!("preparing TLS: {error}"))?;
        let own = Arc::<OwnDials>::default();
        certificates.dials(FrontDoor {
            address: self.addresses.https,
            own: Arc::clone(&own),
        });
        let house = House::new(
            &self.config,
            life,
            Arc::new(certificates),
            Arc::new(targets),
            logging,
        );
        let gate = Gate::new(self.config.limits.max_connections, own);
        let shared = house.shared(gate, generations);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("starting the control runtime: {error}"))?;
        // Before anybody is told that it listens: a signal that comes early is a wish, too.
        let signals = {
            let _inside = runtime.enter();
            Signals::install().and_then(|signals| Ok((signals, Rotation::install()?)))
        };
        let signals = signals.map_err(|error| format!("installing signal handlers: {error}"))?;
        announce(&self.addresses, &self.config);
        runtime.block_on(first_load(&house));
        let ended = self
            .start_workers(&shared)
            .map_err(|error| format!("starting a worker: {error}"))?;
        let drained = runtime.block_on(self.control(house, signals, ended));
        // A file system that hangs must not keep the process from ending.
        runtime.shutdown_timeout(Duration::from_millis(100));
        Ok(if drained?.cut == 0 {
            End::Clean
        } else {
            End::Cut
        })
    }

    fn targets(&self) -> Result<Targets, String> {
        Targets::new(
            self.config.target.clone(),
            self.addresses.own_ports(),
            self.config.allow_remote_target,
            self.config.limits.connect_timeout,
        )
    }

    fn start_workers(
        &self,
        shared: &Shared,
    ) -> std::io::Result<mpsc::UnboundedReceiver<worker::End>> {
        let (ended, receiver) = mpsc::unbounded_channel();
        for number in 0..self.config.workers {
            worker::start(
                number,
                shared.clone(),
                self.doors.try_clone()?,
                ended.clone(),
            )?;
        }
        Ok(receiver)
    }

    /// The control thread: planes, certificates and signals, until the drain is over. The planes are dropped last.
    async fn control(
        self,
        house: House,
        (mut signals, rotation): (Signals, Rotation),
        mut ended: mpsc::UnboundedReceiver<worker::End>,
    ) -> Result<Drained, String> {
        let listen = |listener| {
            TcpListener::from_std(listener).map_err(|error| format!("listening: {error}"))
        };
        let handles = house.handles();
        let admin_plane = serve(listen(self.admin)?, admin(handles.clone()));
        let probe_plane = serve(listen(self.probe)?, probe(handles));
        // The workers have their own clones: these must not keep the port open while they drain.
        drop(self.doors);
        let patience = Patience {
            delay: self.config.drain_delay,
            timeout: self.config.drain_timeout,
        };
        let life = Arc::clone(&house.life);
        let ending = async {
            let delay = tokio::select! {
                delay = until_ending(&mut signals, &house) => delay,
                // Fewer workers than there should be is nothing to live with in silence.
                _ = ended.recv() => return Err("a worker ended, see above".to_owned()),
            };
            let patience = if delay {
                patience
            } else {
                Patience {
                    delay: Duration::ZERO,
                    ..patience
                }
            };
            Ok(drain(
                &life,
                &mut signals,
                patience,
                &mut ended,
                self.config.workers,
            )
            .await)
        };
        tokio::select! {
            drained = ending => drained,
            never = admin_plane => absurd(never),
            never = probe_plane => absurd(never),
            never = rotation.keep(|| house.log.reopen()) => absurd(never),
            never = watch_certificates(Arc::clone(&house.certificates)) => absurd(never),
            never = house.guard.keep() => absurd(never),
        }
    }
}

/// The first load happens before the first accept, so that a good certificate is there for the first client; but a file
/// system that hangs must not keep probes and signals from being answered. The look at what is served comes after.
async fn first_load(house: &House) {
    let certificates = Arc::clone(&house.certificates);
    let (looked, loaded) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        certificates.reload(Trigger::Start, || {
            // Nobody waits any more when it took too long.
            let _ = looked.send(());
        })
    });
    if timeout(FIRST_LOAD, loaded).await.is_err() {
        tracing::warn!("reading the certificate takes long; going on without");
    }
}

/// Waits for a signal to end; true when the drain delay is to be kept.
async fn until_ending(signals: &mut Signals, house: &House) -> bool {
    loop {
        match signals.next().await {
            Wish::Drain => return true,
            Wish::DrainNow => return false,
            Wish::Reload => {
                house.guard.look_now();
                let certificates = Arc::clone(&house.certificates);
                tokio::task::spawn_blocking(move || certificates.reload(Trigger::Signal, || {}));
            }
        }
    }
}

fn absurd<T>(never: Infallible) -> T {
    match never {}
}

fn announce(addresses: &Addresses, config: &Config) {
    let redirect = addresses.redirect.map(tracing::field::display);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        https = %addresses.https,
        redirect,
        admin = %addresses.admin,
        probe = %addresses.probe,
        target = %config.target,
        workers = config.workers,
        "listening"
    );
}

const FIRST_LOAD: Duration = Duration::from_secs(2);
