//! How many connections and requests there is room for: what the file descriptors leave, and what the memory does.

use std::fmt;

use super::{descriptors, memory};

/// What is at hand.
#[derive(Clone, Copy, Debug)]
struct Means {
    /// File descriptors for the data path.
    descriptors: usize,
    /// Bytes that the container may use.
    memory: Option<u64>,
}

/// What there is room for, and what sets the bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Client connections.
    pub connections: usize,
    /// Requests in flight.
    pub requests: usize,
    /// Connections to the application.
    pub upstream: usize,
    /// What sets the bound of connections.
    pub bound: Bound,
    /// Somebody has named a number of connections.
    is_wish: bool,
    /// Bytes that the container may use, where that is limited.
    pub memory: Option<u64>,
}

/// What sets a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Nobody needs more.
    Enough,
    /// Somebody said so.
    Wish,
    /// The file descriptors: fewer than wished, where there was a wish.
    Descriptors,
    /// The memory limit.
    Memory,
}

impl Capacity {
    /// By this machine, for these wishes.
    pub(crate) fn of(connections: Option<usize>, requests: Option<usize>) -> Self {
        let means = Means {
            descriptors: descriptors(),
            memory: memory::limit(),
        };
        means.hold(connections, requests)
    }
}

impl Capacity {
    /// What is to be said where a wish cannot be kept.
    pub fn complaint(&self) -> Option<String> {
        let (connections, is_wish) = (self.connections, self.is_wish);
        (is_wish && self.bound == Bound::Descriptors)
            .then(|| format!("--max-connections is {connections}: {}", self.bound))
    }
}

impl Means {
    fn hold(self, connections: Option<usize>, requests: Option<usize>) -> Capacity {
        let Self {
            descriptors,
            memory,
        } = self;
        let by_memory = memory.map(|bytes| room(bytes, A_CONNECTION, FEWEST_CONNECTIONS));
        let is_wish = connections.is_some();
        let (connections, bound) = match connections {
            // Whoever names a number knows the memory better; nobody can open more descriptors than there are.
            Some(wish) => least([
                (wish, Bound::Wish),
                (descriptors * 3 / 4, Bound::Descriptors),
            ]),
            None => least([
                (MOST, Bound::Enough),
                (descriptors / 2, Bound::Descriptors),
                (by_memory.unwrap_or(usize::MAX), Bound::Memory),
            ]),
        };
        let by_memory = memory.map(|bytes| room(bytes, A_REQUEST, FEWEST_REQUESTS));
        Capacity {
            connections: connections.max(1),
            requests: requests.unwrap_or_else(|| by_memory.unwrap_or(MOST).min(MOST)),
            upstream: descriptors.saturating_sub(connections).max(1),
            bound,
            is_wish,
            memory,
        }
    }
}

/// The first of those that are the least.
fn least<const N: usize>(bounds: [(usize, Bound); N]) -> (usize, Bound) {
    let first = bounds
        .into_iter()
        .reduce(|least, next| if next.0 < least.0 { next } else { least });
    first.unwrap_or((MOST, Bound::Enough))
}

/// Half of what the process itself does not need, in pieces of this size.
fn room(memory: u64, each: u64, fewest: usize) -> usize {
    let room = memory.saturating_sub(OF_ITS_OWN) / 2 / each;
    usize::try_from(room).unwrap_or(usize::MAX).max(fewest)
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enough => "more are never taken unless --max-connections says so",
            Self::Wish => "as --max-connections says",
            Self::Descriptors => "more the file descriptor limit does not allow (ulimit -n)",
            Self::Memory => "more the container's memory limit does not allow",
        })
    }
}

/// What the process needs with nobody there: program, ring, queues.
const OF_ITS_OWN: u64 = 32 << 20;
/// An idle connection takes about 6 KiB, one in its handshake about 30 KiB.
const A_CONNECTION: u64 = 32 << 10;
/// A response whose client does not read takes from 34 KiB (HTTP/2 with a shut window) to about 140 KiB (HTTP/1); a few that are
/// read in large pieces take half a MiB (`upstream/dialer.rs`).
const A_REQUEST: u64 = 256 << 10;
const FEWEST_CONNECTIONS: usize = 64;
const FEWEST_REQUESTS: usize = 32;
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(descriptors: usize, memory: Option<u64>, wish: Option<usize>) -> (usize, usize, Bound) {
        let capacity = Means {
            descriptors,
            memory,
        }
        .hold(wish, None);
        assert!(
            capacity.connections + capacity.upstream <= descriptors.max(2),
            "{capacity:?}"
        );
        (capacity.connections, capacity.requests, capacity.bound)
    }

    #[test]
    fn the_least_of_descriptors_memory_and_what_anybody_needs_is_the_bound() {
        assert_eq!(hold(1 << 20, None, None), (10_000, 10_000, Bound::Enough));
        assert_eq!(hold(1000, None, None), (500, 10_000, Bound::Descriptors));
        let mebi = |count: u64| Some(count << 20);
        assert_eq!(hold(1 << 20, mebi(64), None), (512, 64, Bound::Memory));
        assert_eq!(hold(1 << 20, mebi(128), None), (1536, 192, Bound::Memory));
        assert_eq!(
            hold(1 << 20, mebi(1024), None),
            (10_000, 1984, Bound::Enough)
        );
        assert_eq!(hold(1 << 20, mebi(16), None), (64, 32, Bound::Memory));
    }

    #[test]
    fn a_wish_is_kept_as_far_as_there_are_descriptors() {
        assert_eq!(
            hold(1 << 20, Some(64 << 20), Some(5000)),
            (5000, 64, Bound::Wish)
        );
        assert_eq!(
            hold(100, None, Some(1000)),
            (75, 10_000, Bound::Descriptors)
        );
        assert_eq!(hold(0, None, Some(10)), (1, 10_000, Bound::Descriptors));
    }
}
