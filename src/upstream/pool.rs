//! HTTP/1 connections to the application, kept and new, one pool a worker: no lock, no other thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;

use super::connect::dial;
use super::dialer::Dialer;
use super::h1::{self, Upgraded};
use super::stream::Stream;
use super::target::Target;
use crate::failure::Reason;
use crate::http::RequestBody;
use crate::rewound::Rewound;

/// Idle connections, the most recently used last.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<VecDeque<Idle>>,
    limit: Duration,
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
    address: Option<SocketAddr>,
    /// The number of the target it leads to.
    target: u64,
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
            limit,
            keeps_case,
            most_idle: most_idle.clamp(1, MOST_IDLE),
        })
    }

    /// The most recently used connection to this target that can take a request. The most recent one, so that the rest
    /// can age and go; one whose last exchange is not quite over yet is passed by.
    pub(crate) fn take(self: &Rc<Self>, target: u64) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let usable = |idle: &Idle| {
            idle.connection.target == target
                && idle.connection.sender.is_ready()
                && idle.since.elapsed() < self.limit
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
        let stream = dial(target, dialer).await.map_err(|e| e.reason())?;
        let address = stream.address();
        let (sender, upgraded) = h1::begin(stream, self.keeps_case)
            .await
            .map_err(|error| error.reason())?;
        Ok(Lease {
            connection: Connection {
                sender,
                upgraded,
                address,
                target: target.number,
            },
            reused: false,
            is_last: false,
            pool: Rc::clone(self),
        })
    }

    /// Closes what has been idle for too long.
    pub(crate) fn sweep(&self) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| {
            idle.since.elapsed() < self.limit && !idle.connection.sender.is_closed()
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.idle.borrow().len()
    }
}

impl Lease {
    pub(crate) fn sender(&mut self) -> &mut SendRequest<RequestBody> {
        &mut self.connection.sender
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.connection.address
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
        if is_last || connection.sender.is_closed() || pool.limit.is_zero() {
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

/// Idle connections a worker keeps at most, where there are places enough.
const MOST_IDLE: usize = 256;
