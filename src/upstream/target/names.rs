//! The addresses that a target's name stood for when it was last asked about. A resolver that is away, or a name that is gone for a
//! moment, is no reason to lose an application that is still there.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
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
    /// When they were last asked for.
    at: Option<Instant>,
    /// One of them did not answer.
    is_doubted: bool,
    /// Since when somebody asks; who asks may be dropped.
    asking: Option<Instant>,
}

/// What is known when somebody needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// Nothing.
    Unknown,
    /// Good enough; asked for again meanwhile, where that is due.
    Good(Vec<SocketAddr>),
    /// Better than nothing: one of them did not answer.
    Doubted(Vec<SocketAddr>),
}

/// Why a name stands for nothing that could be used.
#[derive(Debug)]
pub(crate) enum NameError {
    /// The resolver says so.
    Unresolved(io::Error),
    /// An address that no target may have: a word and a sentence for why.
    Forbidden(IpAddr, &'static str, &'static str),
}

/// Says of an address why no target may have it, if so.
type Judge = fn(IpAddr) -> Result<(), (&'static str, &'static str)>;

impl Names {
    /// The addresses that were found last. When that was `every` ago they are asked for again, and nobody waits for a resolver that is
    /// slow.
    pub(crate) fn last(
        self: &Arc<Self>,
        name: &str,
        port: u16,
        every: Duration,
        judge: Judge,
    ) -> Last {
        let mut known = self.lock();
        if known.addresses.is_empty() {
            return Last::Unknown;
        }
        if std::mem::take(&mut known.is_doubted) {
            return Last::Doubted(known.addresses.clone());
        }
        let is_due = known.at.is_none_or(|at| at.elapsed() >= every);
        let is_asked = known
            .asking
            .is_some_and(|since| since.elapsed() < ABANDONED);
        if is_due && !is_asked {
            known.asking = Some(Instant::now());
            let (this, name) = (Arc::clone(self), name.to_owned());
            tokio::spawn(async move {
                if let Err(error) = this.ask(&name, port, judge).await {
                    tracing::warn!(%error, name, "the target's name leads nowhere; its last addresses stay");
                }
            });
        }
        Last::Good(known.addresses.clone())
    }

    /// Asks, and keeps what was found, if all of it may be dialled. A failure leaves what was known.
    pub(crate) async fn ask(
        &self,
        name: &str,
        port: u16,
        judge: Judge,
    ) -> Result<Vec<SocketAddr>, NameError> {
        let found = lookup_host((name, port)).await;
        let mut known = self.lock();
        known.at = Some(Instant::now());
        known.asking = None;
        let found: Vec<_> = found.map_err(NameError::Unresolved)?.collect();
        // What it stood for when it was configured is no promise (DNS rebinding).
        for address in &found {
            judge(address.ip())
                .map_err(|(reason, why)| NameError::Forbidden(address.ip(), reason, why))?;
        }
        if !found.is_empty() {
            known.addresses.clone_from(&found);
        }
        Ok(found)
    }

    /// None of them answers: the next who needs them asks first.
    pub(crate) fn doubt(&self) {
        self.lock().is_doubted = true;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Written in one go each time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(error) => write!(f, "{error}"),
            Self::Forbidden(ip, _, why) => write!(f, "it stands for {ip}, which {why}"),
        }
    }
}

/// No resolver takes longer for an answer that is still worth something.
const ABANDONED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_good_addresses_outlive_a_name_that_is_gone_or_leads_elsewhere() {
        let names = Arc::<Names>::default();
        let hour = Duration::from_secs(3600);
        let all: Judge = |_| Ok(());
        let last = || names.last("localhost", 80, hour, all);
        assert_eq!(last(), Last::Unknown);
        let found = names.ask("localhost", 80, all).await.unwrap();
        assert!(!found.is_empty());
        assert!(names.ask("no-such-name.invalid", 80, all).await.is_err());
        let none: Judge = |_| Err(("metadata", "is not for targets"));
        let forbidden = names.ask("localhost", 80, none).await;
        assert!(matches!(forbidden, Err(NameError::Forbidden(..))));
        assert_eq!(last(), Last::Good(found.clone()));
        names.doubt();
        assert_eq!(last(), Last::Doubted(found.clone()));
        // Once: whoever was told has asked.
        assert_eq!(last(), Last::Good(found));
    }
}
