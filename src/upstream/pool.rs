//! HTTP/1 connections to the application, kept and new, one pool a worker: no lock, no other thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;

use super::connect::dial;
use super::dialer::Dialer;
use super::h1::{self, Upgraded};
use super::patience::{End, Patience};
use super::stream::Stream;
use super::target::Target;
use crate::failure::Reason;
use crate::http::RequestBody;
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
    connection: Connection,
    since: Instant,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<RequestBody>,
    upgraded: Upgraded,
    /// For records.
    address: Option<Rc<str>>,
    /// The number of the target it leads to.
    target: u64,
    end: End,
    /// How long the application has said that it keeps it unused.
    announced: Option<Duration>,
}

/// A connection in use by one exchange. Dropped, it closes; given back, it may be used again.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Connection,
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
        let usable = |idle: &Idle| {
            let limit = idle.limit(limit);
            idle.connection.target == target
                && idle.connection.sender.is_ready()
                && idle.since.elapsed() < if again { limit } else { limit / 2 }
        };
        let position = idle.iter().rposition(usable)?;
        let Idle { connection, .. } = idle.remove(position)?;
        Some(Lease {
            connection,
            reused: true,
            is_last: false,
            pool: Rc::clone(self),
        })
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
        let end = End::default();
        let (sender, upgraded) = h1::begin(stream, self.keeps_case, Rc::clone(&end))
            .await
            .map_err(|_| Reason::UpstreamClosed)?;
        Ok(Lease {
            connection: Connection {
                sender,
                upgraded,
                address,
                target: target.number,
                end,
                announced: None,
            },
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
            if let Some(ended) = idle.connection.end.get() {
                self.patience.closed(ended, ended - idle.since);
                return false;
            }
            !is_surplus
                && idle.connection.target == target
                && idle.since.elapsed() < idle.limit(limit)
                && !idle.connection.sender.is_closed()
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.idle.borrow().len()
    }
}

impl Idle {
    /// How long it may lie unused, where the application's habit is `limit`.
    fn limit(&self, limit: Duration) -> Duration {
        let announced = self.connection.announced;
        announced.map_or(limit, |announced| limit.min(announced))
    }
}

impl Lease {
    /// The application keeps it unused for so long.
    pub(crate) fn kept_for(&mut self, announced: Duration) {
        self.connection.announced = Some(announced);
    }

    pub(crate) fn sender(&mut self) -> &mut SendRequest<RequestBody> {
        &mut self.connection.sender
    }

    pub(crate) fn address(&self) -> Option<Rc<str>> {
        self.connection.address.clone()
    }

    /// The connection itself, after a 101.
    pub(crate) async fn into_upgraded(self) -> Option<Rewound<Stream>> {
        self.connection.upgraded.await.ok()
    }

    /// No other exchange is to use the connection.
    pub(crate) fn retire(&mut self) {
        self.is_last = true;
    }

    /// Keeps the connection for the next exchange. Only after the whole response was read.
    pub(crate) fn give_back(self) {
        let Self {
            connection,
            pool,
            is_last,
            ..
        } = self;
        if is_last || connection.sender.is_closed() || pool.patience.limit().is_zero() {
            return;
        }
        let mut idle = pool.idle.borrow_mut();
        if idle.len() == pool.most_idle {
            idle.pop_front();
        }
        idle.push_back(Idle {
            connection,
            since: Instant::now(),
        });
    }
}

/// Idle connections a worker keeps at most, where there are places enough: as many as exchanges that come and go at once.
const MOST_IDLE: usize = 16384;
/// Those of them that it keeps for longer than a moment. Each costs 25 KiB, most of it hyper's buffers.
const USUAL_IDLE: usize = 64;
const MOMENT: Duration = Duration::from_secs(1);
