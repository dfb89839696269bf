//! How much one client may ask for, so that a flood of it costs neither the data path nor the others more than a little.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::server::ClientKey;

/// A bucket for each client: it holds `burst`, and gets `rate` a second back.
#[derive(Debug)]
pub(crate) struct Allowance {
    burst: f64,
    rate: f64,
    buckets: Mutex<HashMap<ClientKey, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Allowance {
    pub(crate) fn new(burst: u32, rate: u32) -> Self {
        Self {
            burst: f64::from(burst),
            rate: f64::from(rate),
            buckets: Mutex::default(),
        }
    }

    /// Whether this client has one left, which is taken.
    pub(crate) fn take(&self, client: &ClientKey) -> bool {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_CLIENTS && !buckets.contains_key(client) {
            // Whose bucket is full again is as good as new.
            buckets.retain(|_, bucket| self.refilled(bucket, now) < self.burst);
            if buckets.len() >= MOST_CLIENTS {
                return false;
            }
        }
        let bucket = buckets.entry(client.clone()).or_insert(Bucket {
            left: self.burst,
            at: now,
        });
        bucket.left = self.refilled(bucket, now);
        bucket.at = now;
        let has_one = bucket.left >= 1.0;
        if has_one {
            bucket.left -= 1.0;
        }
        has_one
    }

    fn refilled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since: Duration = now.saturating_duration_since(bucket.at);
        (bucket.left + since.as_secs_f64() * self.rate).min(self.burst)
    }
}

/// Clients with less than their all, at once.
const MOST_CLIENTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_spends_its_own_and_gets_it_back_with_time() {
        let allowance = Allowance::new(3, 2);
        let (one, other) = (ClientKey::of_ip("192.0.2.1"), ClientKey::of_ip("192.0.2.2"));
        let taken = |client| (0..10).filter(|_| allowance.take(client)).count();
        assert_eq!((taken(&one), taken(&other)), (3, 3));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(taken(&one), 2);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(taken(&one), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn many_clients_are_forgotten_when_they_have_all_of_it_again() {
        let allowance = Allowance::new(2, 1);
        for number in 0..MOST_CLIENTS as u32 {
            assert!(allowance.take(&ClientKey::Uid(number)));
        }
        let next = ClientKey::Uid(u32::MAX);
        assert!(!allowance.take(&next), "more than can be remembered");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(allowance.take(&next));
        assert_eq!(allowance.buckets.lock().unwrap().len(), 1);
    }
}
