//! HTTP/2 to the application: few connections that many requests share, each driven by a task of this worker.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Ping;
use h2::client::{Builder, SendRequest};
use tokio::sync::Mutex;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::connect::{DialError, dial};
use super::dialer::Dialer;
use super::stream::Stream;
use super::target::Target;
use crate::config::Limits;
use crate::failure::Reason;

/// The connections of a worker.
#[derive(Debug, Default)]
pub(crate) struct Multiplex {
    open: RefCell<Vec<Rc<Connection>>>,
    /// One connects at a time: many requests that come together share what the first one opens.
    connecting: Mutex<()>,
    /// When and to which target the last attempt failed, for those who waited for it.
    failed: Cell<Option<(Instant, u64, Reason)>>,
}

struct Connection {
    sender: SendRequest<Bytes>,
    /// For records.
    address: Option<Rc<str>>,
    /// The number of the target it leads to.
    target: u64,
    streams: Cell<usize>,
    is_over: Cell<bool>,
    last_used: Cell<Instant>,
}

/// The right to one stream; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    connection: Rc<Connection>,
    /// Whether others have used the connection before: only then can it have gone stale.
    pub(crate) reused: bool,
}

impl Multiplex {
    /// A share in a connection to this target.
    pub(crate) async fn share(&self, target: &Target, dialer: &Dialer) -> Result<Share, Reason> {
        if let Some(share) = self.take(target.number) {
            return Ok(share);
        }
        let asked = Instant::now();
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(share) = self.take(target.number) {
            return Ok(share);
        }
        if let Some((at, to, reason)) = self.failed.get()
            && at > asked
            && to == target.number
        {
            return Err(reason);
        }
        let dialed = async {
            let stream = dial(target, dialer).await?;
            self.begin(stream, target.number, &dialer.limits).await
        };
        dialed.await.map_err(|error| {
            let failed = (Instant::now(), target.number, error.reason());
            self.failed.set(Some(failed));
            error.reason()
        })
    }

    /// The connection that has most to do and still takes a stream, so that the rest can age; where all are full and there
    /// are enough of them, the one that has least to do.
    fn take(&self, target: u64) -> Option<Share> {
        let open = self.open.borrow();
        let mine = || {
            let is_mine = |one: &&Rc<Connection>| one.target == target && !one.is_over.get();
            open.iter().filter(is_mine)
        };
        let busiest = mine().filter(|one| one.has_room());
        let connection = busiest.max_by_key(|one| one.streams.get()).or_else(|| {
            let is_enough = mine().count() >= MOST_CONNECTIONS;
            mine()
                .min_by_key(|one| one.streams.get())
                .filter(|_| is_enough)
        })?;
        Some(Share::of(connection, true))
    }

    async fn begin(
        &self,
        stream: Stream,
        target: u64,
        limits: &Limits,
    ) -> Result<Share, DialError> {
        let address = stream.address().map(|address| address.to_string().into());
        let shaken = Builder::new()
            .enable_push(false)
            .initial_window_size(limits.h2_window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MOST_HEAD)
            .max_send_buffer_size(SEND_BUFFER)
            .handshake(stream);
        let (sender, mut driver) = shaken
            .await
            .map_err(|error| DialError::Unreachable(io::Error::other(error)))?;
        let ping = driver.ping_pong();
        let connection = Rc::new(Connection {
            sender,
            address,
            target,
            streams: Cell::new(0),
            is_over: Cell::new(false),
            last_used: Cell::new(Instant::now()),
        });
        let weak = Rc::downgrade(&connection);
        spawn_local(async move {
            // Each stream is told of a failure by itself.
            let _ = driver.await;
            if let Some(connection) = weak.upgrade() {
                connection.is_over.set(true);
            }
        });
        // How many streams it takes stands in its settings, which come before its answer to a ping. One that does not
        // answer is asked all the same, and shows what is wrong with it.
        if let Some(mut ping) = ping {
            let _ = timeout(SETTINGS, ping.ping(Ping::opaque())).await;
        }
        self.open.borrow_mut().push(Rc::clone(&connection));
        Ok(Share::of(&connection, false))
    }

    /// Closes what was not used for as long as `limit`. What still has streams goes on with these.
    pub(crate) fn sweep(&self, limit: Duration, target: u64) {
        self.open.borrow_mut().retain(|connection| {
            let is_idle = connection.streams.get() == 0;
            let is_old =
                connection.target != target || connection.last_used.get().elapsed() >= limit;
            !(connection.is_over.get() || is_idle && is_old)
        });
    }

    /// Connections without a stream.
    pub(crate) fn idle(&self) -> usize {
        let open = self.open.borrow();
        open.iter().filter(|one| one.streams.get() == 0).count()
    }
}

impl Connection {
    fn has_room(&self) -> bool {
        self.streams.get() < self.sender.current_max_send_streams()
    }
}

impl Share {
    fn of(connection: &Rc<Connection>, reused: bool) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Self {
            connection: Rc::clone(connection),
            reused,
        }
    }

    /// A sender that can take a request now.
    pub(crate) async fn sender(&self) -> Result<SendRequest<Bytes>, h2::Error> {
        self.connection.sender.clone().ready().await
    }

    pub(crate) fn address(&self) -> Option<Rc<str>> {
        self.connection.address.clone()
    }

    /// No more requests on this connection.
    pub(crate) fn retire(&self) {
        self.connection.is_over.set(true);
    }

    /// Whether the application takes extended CONNECT (RFC 8441).
    pub(crate) fn takes_extended_connect(&self) -> bool {
        let sender = &self.connection.sender;
        sender.is_extended_connect_protocol_enabled()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.streams.set(connection.streams.get() - 1);
        connection.last_used.set(Instant::now());
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("target", &self.target)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// Connections that a worker opens at most; what is more waits for a stream.
const MOST_CONNECTIONS: usize = 8;
/// The largest there is: all clients share the connection, and what one of them does not read must not be in the way of the
/// others. Each stream has a window of its own.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Bytes of requests buffered for a stream beyond its window.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes of a response's decoded header list; as much as HTTP/1 may have.
const MOST_HEAD: u32 = 128 * 1024;
/// For the application to answer a ping.
const SETTINGS: Duration = Duration::from_secs(1);
