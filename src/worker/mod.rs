//! A worker thread: one current-thread runtime that accepts from its clone of the listeners and owns its connections and
//! its pool. Nothing on the request path waits for another thread.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use portcullis_certs::Store;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;

use crate::config::Config;
use crate::conn::Site;
use crate::connection;
use crate::listener::{Accepted, Gate, accept};
use crate::metrics::Metrics;
use crate::phase::{Life, Phase};
use crate::records;
use crate::upstream::{OwnPorts, Pool, Target, Targets};

/// What all workers share: read-only, or atomic.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) certificates: Arc<Store>,
    pub(crate) targets: Arc<Targets>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) life: Arc<Life>,
    pub(crate) gate: Gate,
}

/// The listeners, of which each worker has a clone.
#[derive(Debug)]
pub(crate) struct Doors {
    pub(crate) https: StdListener,
    pub(crate) redirect: Option<StdListener>,
}

impl Doors {
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let redirect = self
            .redirect
            .as_ref()
            .map(StdListener::try_clone)
            .transpose()?;
        Ok(Self {
            https: self.https.try_clone()?,
            redirect,
        })
    }
}

/// What one worker's connections share.
pub(crate) struct Worker {
    pub(crate) config: Arc<Config>,
    pub(crate) certificates: Arc<Store>,
    pub(crate) own: Arc<OwnPorts>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) site: Site,
    target: RefCell<Cache<Arc<ArcSwap<Target>>, Arc<Target>>>,
    gate: Gate,
    open: Cell<usize>,
    /// Wakes idle connections when they are to close, and the worker when its last connection has.
    changed: Notify,
}

impl Worker {
    fn new(shared: Shared) -> Rc<Self> {
        let Shared {
            config,
            certificates,
            targets,
            metrics,
            life,
            gate,
        } = shared;
        let site = Site {
            service: config.service_name.as_str().into(),
            meter: metrics.meter(),
            life,
        };
        Rc::new(Self {
            own: targets.own(),
            pool: Pool::new(config.limits.pool_idle),
            site,
            target: RefCell::new(Cache::new(targets.shared())),
            gate,
            open: Cell::new(0),
            changed: Notify::new(),
            config,
            certificates,
        })
    }

    /// The target for a request that starts now.
    pub(crate) fn target(&self) -> Arc<Target> {
        Arc::clone(self.target.borrow_mut().load())
    }

    /// Answers tell clients to come back on a new connection.
    pub(crate) fn is_leaving(&self) -> bool {
        self.site.life.phase() >= Phase::Announcing
    }

    /// Idle connections close, and none goes on after its current exchange.
    pub(crate) fn is_closing(&self) -> bool {
        self.site.life.phase() >= Phase::Finishing
    }

    /// Wakes whoever waits when [`Worker::is_closing`] becomes true.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Done a moment after [`Worker::is_closing`] became true: what has not become an exchange by then is given up.
    pub(crate) async fn given_up(&self) {
        while !self.is_closing() {
            self.changed.notified().await;
        }
        tokio::time::sleep(MOMENT).await;
    }

    fn spawn<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        accepted: Accepted,
        life: impl FnOnce(Accepted, Rc<Self>) -> F + 'static,
    ) {
        let open = Open::new(self);
        // The future is made inside the task: made outside and moved in, the task would have room for it twice.
        spawn_local(async move {
            let worker = Rc::clone(&open.0);
            life(accepted, worker).await;
        });
    }

    async fn accept(self: Rc<Self>, doors: Doors) -> io::Result<()> {
        let https = TcpListener::from_std(doors.https)?;
        let redirect = doors.redirect.map(TcpListener::from_std).transpose()?;
        let refused = || self.site.meter.refused();
        let https = accept(
            https,
            self.gate.clone(),
            |accepted| self.spawn(accepted, connection::serve),
            refused,
        );
        let redirect = async {
            if let Some(listener) = redirect {
                let serve = |accepted| self.spawn(accepted, connection::redirect);
                accept(listener, self.gate.clone(), serve, refused).await;
            }
        };
        tokio::join!(https, redirect);
        Ok(())
    }

    /// Closes upstream connections that were not used for too long.
    async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.pool.sweep();
            // A worker that is busy all the time does not sleep, and its last records would wait.
            records::hand_over();
            self.site
                .meter
                .conns
                .upstream_idle
                .store(self.pool.len() as i64, Ordering::Relaxed);
        }
    }

    async fn until_empty(&self) {
        while self.open.get() > 0 {
            self.changed.notified().await;
        }
    }
}

/// Counts a connection of this worker for as long as it lives.
struct Open(Rc<Worker>);

impl Open {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.open.set(worker.open.get() + 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            self.0.changed.notify_waiters();
        }
    }
}

/// How a worker ended: the number of connections it had to cut, or none when it failed.
pub(crate) type End = Option<usize>;

/// Starts a worker. When it has ended, however it did, it says so.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn start(
    number: usize,
    shared: Shared,
    doors: Doors,
    ended: mpsc::UnboundedSender<End>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || {
            let mut farewell = Farewell { ended, end: None };
            records::batch();
            match live(shared, doors) {
                Ok(cut) => farewell.end = Some(cut),
                Err(error) => tracing::error!(%error, number, "a worker failed"),
            }
            records::hand_over();
        })
}

/// Said on drop, so that a panic says it, too.
struct Farewell {
    ended: mpsc::UnboundedSender<End>,
    end: End,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // The control thread may have given up waiting.
        let _ = self.ended.send(self.end);
    }
}

fn live(shared: Shared, doors: Doors) -> io::Result<usize> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .on_thread_park(records::hand_over)
        .build_local(LocalOptions::default())?;
    let cut = runtime.block_on(run(Worker::new(shared), doors));
    // Dropping the runtime drops what is left: each exchange in it leaves its record as cut.
    drop(runtime);
    cut
}

async fn run(worker: Rc<Worker>, doors: Doors) -> io::Result<usize> {
    let mut accepting = spawn_local(Rc::clone(&worker).accept(doors));
    let sweeping = spawn_local(Rc::clone(&worker).sweep());
    tokio::select! {
        () = worker.site.life.reached(Phase::Finishing) => accepting.abort(),
        // Accepting never ends by itself.
        ended = &mut accepting => ended.map_err(io::Error::other)??,
    }
    worker.changed.notify_waiters();
    let cut = tokio::select! {
        () = worker.until_empty() => 0,
        () = worker.site.life.reached(Phase::Cutting) => worker.open.get(),
    };
    sweeping.abort();
    Ok(cut)
}

const SWEEP: Duration = Duration::from_secs(1);
/// For a client in its handshake when the drain closes the doors.
const MOMENT: Duration = Duration::from_millis(500);
