//! Idle connections to the application, one pool a worker: no lock, no other thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;

use super::dial::Dialed;
use crate::http::RequestBody;

/// Idle connections, the most recently used last.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<VecDeque<Idle>>,
    limit: Duration,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<RequestBody>,
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
    pool: Rc<Pool>,
}

impl Pool {
    pub(crate) fn new(limit: Duration) -> Rc<Self> {
        Rc::new(Self {
            idle: RefCell::default(),
            limit,
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
            pool: Rc::clone(self),
        })
    }

    pub(crate) fn lease(self: &Rc<Self>, dialed: Dialed, target: u64) -> Lease {
        let Dialed { sender, address } = dialed;
        Lease {
            connection: Connection {
                sender,
                address,
                target,
            },
            reused: false,
            pool: Rc::clone(self),
        }
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

    /// Keeps the connection for the next exchange. Only after the whole response was read.
    pub(crate) fn give_back(self) {
        let Self {
            connection, pool, ..
        } = self;
        if connection.sender.is_closed() || pool.limit.is_zero() {
            return;
        }
        let mut idle = pool.idle.borrow_mut();
        if idle.len() == MOST_IDLE {
            idle.pop_front();
        }
        idle.push_back(Idle {
            connection,
            since: Instant::now(),
        });
    }
}

/// Idle connections a worker keeps at most.
const MOST_IDLE: usize = 256;
