//! What a target is: its URL, and what was learnt about it.

mod names;
mod url;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

pub(crate) use names::{Last, NameError, Names};
pub(crate) use url::{Endpoint, Protocol, TargetUrl, host_and_port, shown};

/// A target in force: its URL and what was learnt while using it.
#[derive(Debug)]
pub(crate) struct Target {
    /// Counts up with each change, so that a pool knows its connections.
    pub(crate) number: u64,
    /// As configured or as asked for.
    pub url: TargetUrl,
    /// The same as text, for records.
    pub(crate) text: Box<str>,
    /// For `localhost`: which loopback answered last; [`NOBODY`] before the first has.
    winner: AtomicU8,
    /// For a name: what it stands for.
    pub(super) names: Arc<Names>,
    /// Only counted while it is on trial: it is the one thing about a target that all workers would write.
    tally: Option<Tally>,
}

/// How exchanges with a target on trial went.
#[derive(Debug, Default)]
struct Tally {
    exchanges: AtomicU64,
    failed: AtomicU64,
}

const NOBODY: u8 = 0;
const V4: u8 = 4;
const V6: u8 = 6;

impl Target {
    pub(crate) fn new(number: u64, url: TargetUrl) -> Self {
        Self {
            number,
            text: url.to_string().into(),
            url,
            winner: AtomicU8::new(NOBODY),
            names: Arc::default(),
            tally: None,
        }
    }

    /// The same target, when its trial is over: with the same number, so that its connections go on, and what was learnt.
    pub(super) fn settled(&self) -> Self {
        Self {
            winner: AtomicU8::new(self.winner.load(Ordering::Relaxed)),
            names: Arc::clone(&self.names),
            ..Self::new(self.number, self.url.clone())
        }
    }

    /// One whose exchanges are counted.
    pub(super) fn on_trial(number: u64, url: TargetUrl) -> Self {
        Self {
            tally: Some(Tally::default()),
            ..Self::new(number, url)
        }
    }

    /// An exchange with it is over.
    pub(crate) fn count(&self, is_failed: bool) {
        if let Some(tally) = &self.tally {
            tally.exchanges.fetch_add(1, Ordering::Relaxed);
            tally
                .failed
                .fetch_add(u64::from(is_failed), Ordering::Relaxed);
        }
    }

    /// Exchanges with it, and how many of them failed; nothing where they are not counted.
    pub(crate) fn tally(&self) -> (u64, u64) {
        let tally = self.tally.as_ref();
        tally.map_or((0, 0), |tally| {
            let failed = tally.failed.load(Ordering::Relaxed);
            // Read last: there are never fewer exchanges than failed ones.
            (tally.exchanges.load(Ordering::Relaxed), failed)
        })
    }

    /// Both loopbacks, the last winner first.
    pub(crate) fn loopbacks(&self, port: u16) -> [SocketAddr; 2] {
        let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
        if self.winner.load(Ordering::Relaxed) == V6 {
            [v6, v4]
        } else {
            [v4, v6]
        }
    }

    /// This loopback has answered. Said when it is news.
    pub(super) fn won(&self, address: SocketAddr) {
        let winner = if address.is_ipv6() { V6 } else { V4 };
        if self.winner.swap(winner, Ordering::Relaxed) != winner {
            tracing::info!(target_url = %self.url, %address, "localhost answers at this address");
        }
    }

    /// For `localhost`: the address that answered last.
    pub(crate) fn answers_at(&self) -> Option<SocketAddr> {
        match (self.url.endpoint(), self.winner.load(Ordering::Relaxed)) {
            (_, NOBODY) => None,
            (Endpoint::Localhost(port), _) => Some(self.loopbacks(*port)[0]),
            _ => None,
        }
    }
}
