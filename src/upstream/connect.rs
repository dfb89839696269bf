//! Connecting to the target: one attempt under one deadline, repeated for a while when the application refuses, because
//! it may just be restarting.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::dialer::Dialer;
use super::stream::Stream;
use super::target::{Endpoint, Last, NameError, Target};
use super::targets::{OwnPorts, refuse_address};
use crate::failure::Reason;
use crate::wire::Wire;

/// Why no connection came about.
#[derive(Debug)]
pub(crate) enum DialError {
    /// Nobody listens there, or not any more.
    Refused(io::Error),
    /// No answer within the limit.
    Timeout,
    /// This process is out of file descriptors: the application is not to blame.
    Exhausted(io::Error),
    /// Anything else the system said.
    Unreachable(io::Error),
    /// It leads back here.
    Loop,
    /// The name stands for an address that no target may have: a word and a sentence for why.
    Forbidden(IpAddr, &'static str, &'static str),
}

/// A fresh connection to the application.
pub(super) async fn dial(target: &Target, dialer: &Dialer) -> Result<Stream, DialError> {
    let limits = &dialer.limits;
    let place = dialer.place();
    let place = place.ok_or_else(|| DialError::Exhausted(io::Error::other(ALL_TAKEN)))?;
    let give_up = Instant::now() + limits.connect_retry_for;
    let mut pause = FIRST_PAUSE;
    loop {
        let every = Some(limits.resolve_every);
        match connect(target, &dialer.own, limits.connect_timeout, every).await {
            Ok(stream) => return Ok(stream.at(place)),
            Err(error @ DialError::Refused(_)) if Instant::now() + pause < give_up => {
                tracing::debug!(%error, target = %target.url, "trying again");
            }
            Err(error) => return Err(error),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Only connects, to see whether somebody listens; says where, but for a Unix socket.
pub(crate) async fn probe(
    target: &Target,
    own: &OwnPorts,
    limit: Duration,
) -> Result<Option<SocketAddr>, DialError> {
    let stream = connect(target, own, limit, None).await?;
    Ok(stream.address())
}

/// One attempt to connect. What a name stood for is good enough for `every`; without that it is asked about now.
pub(super) async fn connect(
    target: &Target,
    own: &OwnPorts,
    limit: Duration,
    every: Option<Duration>,
) -> Result<Stream, DialError> {
    let deadline = Instant::now() + limit;
    match target.url.endpoint() {
        Endpoint::Address(address) => first(&[*address], own, deadline).await,
        Endpoint::Localhost(port) => {
            let stream = first(&target.loopbacks(*port), own, deadline).await?;
            if let Some(address) = stream.address() {
                target.won(address);
            }
            Ok(stream)
        }
        Endpoint::Name(name, port) => {
            let addresses = resolve(target, (name, *port), limit, every).await?;
            let connected = first(&addresses, own, deadline).await;
            if connected.is_err() {
                target.names.doubt();
            }
            connected
        }
        Endpoint::Unix(path) if own.contains_path(path) => Err(DialError::Loop),
        Endpoint::Unix(path) => match timeout(limit, UnixStream::connect(path)).await {
            Err(_) => Err(DialError::Timeout),
            Ok(Err(error)) => Err(sort(error)),
            Ok(Ok(stream)) => Ok(Stream::unix(stream)),
        },
    }
}

/// What a name stands for: known, or asked for now, where half of the time is left for the connection.
async fn resolve(
    target: &Target,
    (name, port): (&str, u16),
    limit: Duration,
    every: Option<Duration>,
) -> Result<Vec<SocketAddr>, DialError> {
    let names = &target.names;
    let last = every.map_or(Last::Unknown, |every| {
        names.last(name, port, every, refuse_address)
    });
    let (limit, fallback) = match last {
        Last::Good(known) => return Ok(known),
        Last::Doubted(known) => (limit / 2, Some(known)),
        Last::Unknown => (limit, None),
    };
    let asked = timeout(limit, names.ask(name, port, refuse_address)).await;
    let found = match asked {
        Err(_) => Err(DialError::Timeout),
        Ok(Err(NameError::Unresolved(error))) => Err(DialError::Unreachable(error)),
        Ok(Err(NameError::Forbidden(ip, reason, why))) => {
            Err(DialError::Forbidden(ip, reason, why))
        }
        Ok(Ok(found)) => Ok(found),
    };
    match (found, fallback) {
        (Err(_), Some(known)) => Ok(known),
        (found, _) => found,
    }
}

/// The first address that answers; the deadline holds for all of them together.
async fn first(
    addresses: &[SocketAddr],
    own: &OwnPorts,
    deadline: Instant,
) -> Result<Stream, DialError> {
    let nothing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut failure = DialError::Unreachable(nothing);
    for address in addresses {
        if own.contains(*address) {
            return Err(DialError::Loop);
        }
        match timeout_at(deadline, TcpStream::connect(address)).await {
            Err(_) => return Err(DialError::Timeout),
            // One that refuses now may take connections in a moment; one that does not exist will not.
            Ok(Err(error)) if !matches!(failure, DialError::Refused(_)) => failure = sort(error),
            Ok(Err(_)) => {}
            Ok(Ok(stream)) => {
                Wire::prepare(&stream);
                return Ok(Stream::tcp(stream, *address));
            }
        }
    }
    Err(failure)
}

fn sort(error: io::Error) -> DialError {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    if matches!(
        code,
        Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL)
    ) {
        return DialError::Exhausted(error);
    }
    match error.kind() {
        // A Unix socket whose backlog is full says WouldBlock. Who stops listening resets what waits in his backlog.
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::NotFound
        | io::ErrorKind::WouldBlock => DialError::Refused(error),
        io::ErrorKind::TimedOut => DialError::Timeout,
        _ => DialError::Unreachable(error),
    }
}

impl DialError {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Refused(_) => Reason::UpstreamRefused,
            Self::Timeout => Reason::UpstreamConnectTimeout,
            Self::Exhausted(_) => Reason::UpstreamExhausted,
            Self::Unreachable(_) => Reason::UpstreamUnreachable,
            Self::Loop => Reason::UpstreamLoop,
            Self::Forbidden(..) => Reason::UpstreamForbidden,
        }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) | Self::Exhausted(error) | Self::Unreachable(error) => {
                write!(f, "{error}")
            }
            Self::Timeout => f.write_str("no answer in time (does a firewall drop packets?)"),
            Self::Loop => f.write_str("it leads back to this sidecar"),
            Self::Forbidden(ip, _, why) => write!(f, "its name leads to {ip}, which {why}"),
        }
    }
}

const ALL_TAKEN: &str = "as many connections to the application are open as may be";
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::upstream::TargetUrl;

    /// The application is restarted at the moment at which the connection waits to be accepted.
    #[tokio::test]
    async fn who_stops_listening_under_a_connection_that_waits_for_him_refuses_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = listener.local_addr().unwrap().to_string();
        let target = Target::new(1, TargetUrl::parse(&url).unwrap());
        let own = OwnPorts::default();
        let mut connecting = pin!(connect(&target, &own, Duration::from_secs(20), None));
        // The kernel has connected them; the runtime does not know yet.
        let mut cx = Context::from_waker(Waker::noop());
        assert!(connecting.as_mut().poll(&mut cx).is_pending());
        drop(listener);
        let error = connecting.await.unwrap_err();
        assert!(matches!(error, DialError::Refused(_)), "{error:?}");
    }
}
