//! A worker: a thread with one current-thread runtime that accepts from its clone of the listeners and owns its connections and
//! its pool. Nothing on the request path waits for another thread.

mod open;
mod sweep;
mod thread;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use portcullis_certs::Store;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;

use crate::census::Book;
use crate::config::Config;
use crate::conn::{Conn, Site};
use crate::connection;
use crate::crowd::Crowd;
use crate::failure::Reason;
use crate::headers::Phrases;
use crate::http::{Date, Spare, Watch};
use crate::listener::{Accepted, Gate, accept};
use crate::metrics::Metrics;
use crate::phase::{Life, Phase};
use crate::places::{Place, Places};
use crate::records::{Policy, Roll};
use crate::tls;
use crate::trace::{Lanes, Tracer};
use crate::upstream::{Dialer, Multiplex, Pool, Target, Targets};

use open::Open;
pub(crate) use thread::{End, start};

/// What all workers share: read-only, or atomic.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) certificates: Arc<Store>,
    pub(crate) targets: Arc<Targets>,
    pub(crate) dialer: Dialer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) life: Arc<Life>,
    pub(crate) gate: Gate,
    /// Requests in flight.
    pub(crate) requests: Places,
    /// Responses that may last for ever.
    pub(crate) endless: Places,
    pub(crate) crowd: Crowd,
    /// Handshakes in progress.
    pub(crate) handshakes: Arc<AtomicUsize>,
    /// The number of the generation served.
    pub(crate) generations: watch::Receiver<u64>,
    /// What of a request is written.
    pub(crate) policy: Arc<Policy>,
    /// Where workers are asked what is open.
    pub(crate) roll: Arc<Roll>,
    /// Where finished spans go; none where traces are not exported.
    pub(crate) lanes: Option<Lanes>,
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
    pub(crate) dialer: Dialer,
    pub(crate) pool: Rc<Pool>,
    pub(crate) multiplex: Multiplex,
    pub(crate) watch: Rc<Watch>,
    pub(crate) crowd: Crowd,
    pub(crate) handshakes: Rc<tls::Crowd>,
    pub(crate) site: Site,
    pub(crate) phrases: Phrases,
    pub(crate) date: Date,
    pub(crate) scratch: Rc<tls::Scratch>,
    pub(crate) spare: Rc<Spare>,
    target: RefCell<Cache<Arc<ArcSwap<Target>>, Arc<Target>>>,
    gate: Gate,
    requests: Places,
    /// Event streams and RPCs, which last as long as connections do.
    endless: Places,
    open: Cell<usize>,
    /// How its connections end, once the doors are closed.
    book: Rc<Book>,
    /// Wakes idle connections when they are to close, and the worker when its last connection has.
    changed: Notify,
}

impl Worker {
    fn new(shared: Shared) -> Rc<Self> {
        let Shared {
            config,
            certificates,
            targets,
            dialer,
            metrics,
            life,
            gate,
            requests,
            endless,
            crowd,
            handshakes,
            generations: _,
            policy,
            roll: _,
            lanes,
        } = shared;
        let tracer = config.traces.as_ref().zip(lanes).map(|(traces, lanes)| {
            let tracer = Tracer::new(traces, &config, lanes.lane());
            Rc::new(tracer)
        });
        let site = Site {
            service: config.service_name.as_str().into(),
            meter: metrics.meter(),
            life,
            policy,
            inflight: Rc::default(),
            tracer,
        };
        Rc::new(Self {
            dialer,
            // What one worker keeps for itself is not to keep the others from connecting.
            pool: Pool::new(
                config.limits.pool_idle,
                config.header_case_kept,
                config.limits.capacity.upstream / config.workers / 2,
            ),
            multiplex: Multiplex::default(),
            watch: Watch::new(&config.limits),
            crowd,
            handshakes: tls::Crowd::new(handshakes, config.limits.max_handshakes),
            site,
            phrases: Phrases::default(),
            date: Date::default(),
            scratch: Rc::default(),
            spare: Rc::default(),
            target: RefCell::new(Cache::new(targets.shared())),
            gate,
            requests,
            endless,
            open: Cell::new(0),
            book: Rc::default(),
            changed: Notify::new(),
            config,
            certificates,
        })
    }

    /// The target for a request that starts now.
    pub(crate) fn target(&self) -> Arc<Target> {
        Arc::clone(self.target.borrow_mut().load())
    }

    /// A place among the requests in flight, if there is one.
    pub(crate) fn admit(&self) -> Option<Place> {
        self.requests.take()
    }

    /// A place among the responses that may last for ever, if there is one.
    pub(crate) fn let_last(&self) -> Option<Place> {
        self.endless.take()
    }

    /// Answers tell clients to come back on a new connection.
    pub(crate) fn is_leaving(&self) -> bool {
        self.site.life.phase() >= Phase::Announcing
    }

    /// Idle connections close, and none goes on after its current exchange.
    pub(crate) fn is_closing(&self) -> bool {
        self.site.life.phase() >= Phase::Finishing
    }

    /// The answers on this connection tell its client to come back on a new one.
    pub(crate) fn is_leaving_for(&self, conn: &Conn) -> bool {
        self.is_leaving() || conn.tenure.is_over()
    }

    /// This connection closes when it is idle, and does not go on after its current exchange.
    pub(crate) fn is_closing_for(&self, conn: &Conn) -> bool {
        self.is_closing() || conn.tenure.is_distrusted()
    }

    /// Done when the client of this connection is trusted no more, and has had the time that a drain gives.
    pub(crate) async fn outlived_trust(&self, conn: &Conn) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if conn.tenure.is_distrusted() {
                tokio::time::sleep(self.config.drain_timeout).await;
                conn.cut.set(Some(Reason::ClientNotTrusted));
                return;
            }
            changed.await;
        }
    }

    /// Wakes whoever waits when [`Worker::is_closing`] becomes true, or the trust in a client may have been lost.
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
        let open = Open::new(self, &accepted);
        // The future is made inside the task: made outside and moved in, the task would have room for it twice.
        spawn_local(async move {
            let worker = Rc::clone(&open.worker);
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
                let serve = |accepted| self.spawn(accepted, connection::serve_redirect);
                accept(listener, self.gate.clone(), serve, refused).await;
            }
        };
        tokio::join!(https, redirect);
        Ok(())
    }

    /// Wakes connections when there is a new generation, so that they look whether it still trusts their client.
    async fn follow(self: Rc<Self>, mut generations: watch::Receiver<u64>) {
        while generations.changed().await.is_ok() {
            self.changed.notify_waiters();
        }
    }

    async fn until_empty(&self) {
        while self.open.get() > 0 {
            self.changed.notified().await;
        }
    }
}

/// For a client in its handshake when the drain closes the doors.
const MOMENT: Duration = Duration::from_millis(500);
