//! The addresses that a target's name stood for when it was last asked about. A resolver that is away, or a name that is gone for a
//! moment, is no reason to lose an application that is still there.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::lookup_host;

/// What is known of one name, by all workers together.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The last good ones.
    addresses: Vec<SocketAddr>,
    /// When they were asked for; none where that is to be done again.
    at: Option<Instant>,
    /// Somebody asks just now.
    is_asking: bool,
}

impl Names {
    /// The addresses that were found last, where any were. When that was `every` ago, they are asked for again meanwhile: nobody
    /// waits for a resolver that is slow.
    pub(crate) fn last(
        self: &Arc<Self>,
        name: &str,
        port: u16,
        every: Duration,
    ) -> Option<Vec<SocketAddr>> {
        let mut known = self.lock();
        if known.addresses.is_empty() {
            return None;
        }
        let is_fresh = known.at.is_some_and(|at| at.elapsed() < every);
        if !is_fresh && !std::mem::replace(&mut known.is_asking, true) {
            let (this, name) = (Arc::clone(self), name.to_owned());
            tokio::spawn(async move {
                if let Err(error) = this.ask(&name, port).await {
                    tracing::warn!(%error, name, "resolving the target's name failed; its last addresses stay");
                }
            });
        }
        Some(known.addresses.clone())
    }

    /// Asks, and keeps what was found. A failure leaves what was known.
    pub(crate) async fn ask(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = lookup_host((name, port)).await;
        let mut known = self.lock();
        known.at = Some(Instant::now());
        known.is_asking = false;
        let found: Vec<_> = found?.collect();
        if !found.is_empty() {
            known.addresses.clone_from(&found);
        }
        Ok(found)
    }

    /// One of them has failed: the next who needs them has them asked for again.
    pub(crate) fn doubt(&self) {
        self.lock().at = None;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Written in one go each time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_good_addresses_outlive_a_name_that_is_gone() {
        let names = Arc::<Names>::default();
        assert_eq!(names.last("localhost", 80, Duration::ZERO), None);
        let found = names.ask("localhost", 80).await.unwrap();
        assert!(!found.is_empty());
        assert!(names.ask("no-such-name.invalid", 80).await.is_err());
        let hour = Duration::from_secs(3600);
        assert_eq!(names.last("localhost", 80, hour), Some(found));
    }
}
