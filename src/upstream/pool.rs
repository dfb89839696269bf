//! HTTP/1 connections to the application, kept and new, one pool a worker: no lock, no other thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connect::dial;
use super::dialer::Dialer;
use super::h1::Connection;
use super::patience::{Ended, Patience};
use super::stream::Stream;
use super::target::Target;
use crate::failure::Reason;
use crate::places::{Place, Places};
use crate::rewound::Rewound;

/// Idle connections, the most recently used last.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<VecDeque<Idle>>,
    patience: Patience,
    /// Names of fields keep their case.
    keeps_case: bool,
    most_idle: usize,
}

#[derive(Debug)]
struct Idle {
    kept: Kept,
    since: Instant,
}

#[derive(Debug)]
struct Kept {
    connection: Rc<Connection>,
    /// For records.
    address: Option<Rc<str>>,
    /// The number of the target it leads to.
    target: u64,
    /// Told when something happens to it while it is unused.
    ended: Ended,
    /// For responses that are read in large pieces.
    large: Places,
    /// How long the application has said that it keeps it unused.
    announced: Option<Duration>,
}

/// A connection in use by one exchange. Dropped, it closes; given back, it may be used again.
#[derive(Debug)]
pub(crate) struct Lease {
    kept: Kept,
    /// Whether another exchange has used it before: only then can it have gone stale.
    pub(crate) reused: bool,
    is_last: bool,
    pool: Rc<Pool>,
}

impl Pool {
    pub(crate) fn new(limit: Duration, keeps_case: bool, most_idle: usize) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            patience: Patience::new(limit),
            keeps_case,
            most_idle: most_idle.clamp(1, MOST_IDLE),
        })
    }

    /// The most recently used connection to this target that can take a request. The most recent one, so that the rest
    /// can age and go; one whose last exchange is not quite over yet is passed by. For a request that could not be sent
    /// `again`, one is only good enough if the application is far from closing it.
    pub(crate) fn take(self: &Rc<Self>, target: u64, again: bool) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let limit = self.patience.limit();
        for at in (0..idle.len()).rev() {
            let one = &idle[at];
            let limit = one.limit(limit);
            let is_wanted = one.kept.target == target
                && one.since.elapsed() < if again { limit } else { limit / 2 }
                && !one.kept.connection.is_sending();
            if !is_wanted {
                continue;
            }
            let Idle { kept, since } = idle.remove(at)?;
            if kept.is_unused() {
                return Some(Lease {
                    kept,
                    reused: true,
                    is_last: false,
                    pool: Rc::clone(self),
                });
            }
            self.learn(&kept, since);
        }
        None
    }

    /// A new connection that can take a request.
    pub(crate) async fn connect(
        self: &Rc<Self>,
        target: &Target,
        dialer: &Dialer,
    ) -> Result<Lease, Reason> {
        match self.try_connect(target, dialer).await {
            // An application that is just ending takes connections that it will never look at.
            Err(Reason::UpstreamClosed) => self.try_connect(target, dialer).await,
            // What the application has closed takes places until somebody looks.
            Err(Reason::UpstreamExhausted) if self.bury() => self.try_connect(target, dialer).await,
            first => first,
        }
    }

    async fn try_connect(
        self: &Rc<Self>,
        target: &Target,
        dialer: &Dialer,
    ) -> Result<Lease, Reason> {
        let stream = dial(target, dialer).await.map_err(|e| e.reason())?;
        let address = stream.address().map(|address| address.to_string().into());
        let kept = Kept {
            connection: Connection::new(stream),
            address,
            target: target.number,
            ended: Ended::default(),
            large: dialer.large(),
            announced: None,
        };
        if !kept.is_unused() {
            return Err(Reason::UpstreamClosed);
        }
        Ok(Lease {
            kept,
            reused: false,
            is_last: false,
            pool: Rc::clone(self),
        })
    }

    /// Closes what has been idle for too long, what leads to another target than the one of this number, and of many those
    /// that nobody has wanted for a moment: a burst is over.
    pub(crate) fn sweep(&self, target: u64) {
        let mut idle = self.idle.borrow_mut();
        let limit = self.patience.limit();
        // The least recently used are in front.
        let mut surplus = idle.len().saturating_sub(USUAL_IDLE);
        idle.retain(|idle| {
            let is_surplus = surplus > 0 && idle.since.elapsed() >= MOMENT;
            surplus = surplus.saturating_sub(1);
            self.is_open(idle)
                && !is_surplus
                && idle.kept.target == target
                && idle.since.elapsed() < idle.limit(limit)
        });
    }

    /// Closes what the application has closed; whether there was any.
    fn bury(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        idle.retain(|idle| self.is_open(idle));
        idle.len() < before
    }

    /// Whether the application keeps it open, too. If not, its patience is learnt from that.
    fn is_open(&self, idle: &Idle) -> bool {
        let Idle { kept, since } = idle;
        let is_open = kept.connection.is_sending() || kept.is_unused();
        if !is_open {
            self.learn(kept, *since);
        }
        is_open
    }

    /// It has ended while it was unused.
    fn learn(&self, kept: &Kept, since: Instant) {
        if let Some(ended) = kept.ended.at() {
            self.patience.closed(ended, ended - since);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.idle.borrow().len()
    }
}

impl Kept {
    /// Whether nobody uses it, and it is open.
    fn is_unused(&self) -> bool {
        self.connection.is_unused(&mut self.ended.context())
    }
}

impl Idle {
    /// How long it may lie unused, where the application's habit is `limit`.
    fn limit(&self, limit: Duration) -> Duration {
        let announced = self.kept.announced;
        announced.map_or(limit, |announced| limit.min(announced))
    }
}

impl Lease {
    /// The application keeps it unused for so long.
    pub(crate) fn kept_for(&mut self, announced: Duration) {
        self.kept.announced = Some(announced);
    }

    pub(super) fn connection(&self) -> &Rc<Connection> {
        &self.kept.connection
    }

    pub(crate) fn address(&self) -> Option<Rc<str>> {
        self.kept.address.clone()
    }

    /// Names of fields keep their case.
    pub(super) fn keeps_case(&self) -> bool {
        self.pool.keeps_case
    }

    /// The right to read a response in large pieces, if not too many are already.
    pub(super) fn large(&self) -> Option<Place> {
        self.kept.large.take()
    }

    /// The connection itself, after a 101 and what has come behind that.
    pub(super) fn into_upgraded(self, ahead: Bytes) -> Option<Rewound<Stream>> {
        let connection = Rc::into_inner(self.kept.connection)?;
        Some(Rewound::new(ahead, connection.into_stream()))
    }

    /// No other exchange is to use the connection.
    pub(crate) fn retire(&mut self) {
        self.is_last = true;
    }

    /// Keeps the connection for the next exchange. Only after the whole response was read.
    pub(crate) fn give_back(self) {
        let Self {
            kept,
            pool,
            is_last,
            ..
        } = self;
        kept.ended.forget();
        let is_open = kept.connection.is_sending() || kept.is_unused();
        if is_last || !is_open || pool.patience.limit().is_zero() {
            return;
        }
        let mut idle = pool.idle.borrow_mut();
        if idle.len() == pool.most_idle {
            idle.pop_front();
        }
        idle.push_back(Idle {
            kept,
            since: Instant::now(),
        });
    }
}

/// Idle connections a worker keeps at most, where there are places enough: as many as exchanges that come and go at once.
const MOST_IDLE: usize = 16384;
/// Those of them that it keeps for longer than a moment. Each costs the kernel a few KiB, and us next to nothing.
const USUAL_IDLE: usize = 64;
const MOMENT: Duration = Duration::from_secs(1);
