//! Composition: bind everything, then start everything, then wait for the end.

use std::convert::Infallible;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use portcullis_admin::{admin, probe, serve};
use portcullis_certs::{Store, Trigger, watch as watch_certificates};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::addresses::Addresses;
use crate::config::{Config, Raw};
use crate::drain::{Drained, Endings, Patience, drain};
use crate::listener::{Gate, bind};
use crate::logging::Logging;
use crate::own_dials::{FrontDoor, OwnDials};
use crate::phase::Life;
use crate::planes::{AdminSocket, bind_admin, tcp};
use crate::restrict::Restriction;
use crate::signals::{Orphans, Rotation, Signals, Wish};
use crate::upstream::Targets;
use crate::wiring::{Entry, House, Parts, Teller};
use crate::worker::{self, Doors, Shared};

/// Everything is bound and nothing runs yet.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    doors: Doors,
    admin: AdminSocket,
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
    let https = noted(
        bind("the HTTPS listener (--listen)", config.listen),
        &mut errors,
    );
    let redirect = config.redirect.map(|address| {
        let bound = bind("the redirect listener (--redirect)", address);
        noted(bound, &mut errors)
    });
    let admin = noted(bind_admin(&config.admin.address), &mut errors);
    let probe = noted(bind("the probe plane (--probe)", config.probe), &mut errors);
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

fn noted<T>(bound: Result<T, String>, errors: &mut Vec<String>) -> Option<T> {
    bound.map_err(|error| errors.push(error)).ok()
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
    pub fn run(
        self,
        raw: &Raw,
        restrictions: Vec<Restriction>,
        logging: &Logging,
    ) -> Result<End, String> {
        let targets = self.targets()?;
        let entry = Entry::new(&self.config, &self.addresses)?;
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
        let parts = Parts {
            config: &self.config,
            raw,
            restrictions,
            addresses: &self.addresses,
            life,
            certificates: Arc::new(certificates),
            targets: Arc::new(targets),
            entry,
        };
        let house = House::new(parts, logging);
        let gate = Gate::new(self.config.limits.capacity.connections, own);
        let shared = house.shared(gate, generations);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("starting the control runtime: {error}"))?;
        // Before anybody is told that it listens: a signal that comes early is a wish, too.
        let signals = {
            let _inside = runtime.enter();
            Signals::install()
                .and_then(|signals| Ok((signals, Rotation::install()?, Orphans::install()?)))
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
        Ok(if drained?.cut() == 0 {
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
            self.config.target_locked,
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
        (mut signals, rotation, orphans): (Signals, Rotation, Orphans),
        mut ended: mpsc::UnboundedReceiver<worker::End>,
    ) -> Result<Drained, String> {
        let (handles, access) = (house.handles(), &house.entry.access);
        let routes = admin(handles.clone(), Arc::clone(access));
        let admin_plane = serve(self.admin.door(house.entry.secure())?, routes);
        let routes = probe(handles, Arc::clone(access));
        let probe_plane = serve(tcp(&self.probe, None)?, routes);
        // The workers have their own clones: these must not keep the port open while they drain.
        drop(self.doors);
        let patience = Patience {
            delay: self.config.drain_delay,
            timeout: self.config.drain_timeout,
        };
        let life = Arc::clone(&house.life);
        let ending = async {
            let began = tokio::select! {
                began = until_ending(&mut signals, &house) => began,
                // Fewer workers than there should be is nothing to live with in silence.
                _ = ended.recv() => return Err("a worker ended, see above".to_owned()),
            };
            let patience = match began {
                Began::InOrder | Began::ForOperator => patience,
                Began::AtOnce => Patience {
                    delay: Duration::ZERO,
                    ..patience
                },
            };
            let mut endings = Endings::new(&mut signals, began != Began::ForOperator);
            let workers = self.config.workers;
            let drained = drain(&life, &mut endings, patience, &mut ended, workers).await;
            endings.last().await;
            Ok(drained)
        };
        tokio::select! {
            drained = house.exporting(ending) => drained,
            never = admin_plane => absurd(never),
            never = probe_plane => absurd(never),
            never = orphans.keep() => absurd(never),
            never = house.keep_watch() => absurd(never),
            never = rotation.keep(|| house.log.reopen()) => absurd(never),
            never = watch_certificates(Arc::clone(&house.certificates)) => absurd(never),
            never = house.entry.keep() => absurd(never),
            never = house.keep_target() => absurd(never),
            never = house.guard.keep() => absurd(never),
        }
    }
}

/// The first load happens before the first accept, so that a good certificate is there for the first client; but a file
/// system that hangs must not keep probes and signals from being answered. The look at what is served comes after.
async fn first_load(house: &House) {
    house.entry.reload(Trigger::Start);
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

/// How an end began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Began {
    /// By SIGTERM.
    InOrder,
    /// By SIGINT: without the delay.
    AtOnce,
    /// By the admin plane: the process stays until a signal comes.
    ForOperator,
}

/// Waits for somebody who wants it to end.
async fn until_ending(signals: &mut Signals, house: &House) -> Began {
    loop {
        let wish = tokio::select! {
            wish = signals.next() => wish,
            () = house.drain.notified() => return Began::ForOperator,
        };
        match wish {
            Wish::Drain => return Began::InOrder,
            Wish::DrainNow => return Began::AtOnce,
            Wish::Reload => {
                house.entry.reload(Trigger::Signal);
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
