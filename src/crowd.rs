//! How many connections one client has open, over all workers (`--max-connections-per-client`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The clients that have connections open, where there is a limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// Zero is no limit.
    most: usize,
}

/// The place of one connection of a client; dropped with it.
#[derive(Debug)]
pub(crate) struct Seat {
    crowd: Crowd,
    client: IpAddr,
}

impl Crowd {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            open: Arc::default(),
            most,
        }
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.most > 0
    }

    /// A place for one more connection of this client, if it may have one.
    pub(crate) fn enter(&self, client: IpAddr) -> Option<Seat> {
        let client = household(client);
        let mut open = self.lock();
        let count = open.entry(client).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Seat {
            crowd: self.clone(),
            client,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.crowd.lock().entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Whoever has an IPv6 address has a /64 of them (RFC 6177).
fn household(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(ip) => {
            let prefix = u128::from(ip) >> 64 << 64;
            Ipv6Addr::from(prefix).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_places_and_gets_them_back() {
        let crowd = Crowd::new(2);
        let client = "2001:db8::1".parse().unwrap();
        let first = crowd.enter(client);
        assert!(first.is_some());
        let second = crowd.enter("2001:db8::2".parse().unwrap());
        assert!(second.is_some());
        assert!(crowd.enter(client).is_none(), "of the same /64");
        assert!(crowd.enter("2001:db8:0:1::1".parse().unwrap()).is_some());
        drop(first);
        assert!(crowd.enter(client).is_some());
        drop(second);
        assert!(crowd.lock().is_empty());
    }
}
