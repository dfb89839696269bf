//! What time alone makes wrong, and nobody would notice: a certificate that ends while it is served, a worker that stands still.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use portcullis_certs::Store;
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval};

use super::House;
use super::certificates::ADMIN_PLANE;

impl House {
    /// Looks again and again, and tells what has become of it.
    pub(crate) async fn keep_watch(&self) -> Infallible {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended = self.ended_certificates();
        let mut blocked = 0;
        loop {
            ticks.tick().await;
            let now = self.ended_certificates();
            for part in now.difference(&ended) {
                tracing::error!(
                    part,
                    "the certificate has expired while it is served: clients refuse it; renew it"
                );
            }
            ended = now;
            let are_blocked = self.metrics.blocked();
            if are_blocked > blocked {
                tracing::error!(
                    workers = are_blocked,
                    "workers stand still: their connections wait (a file system or a debugger that hangs, or no CPU?)"
                );
            } else if are_blocked < blocked {
                tracing::info!(workers = are_blocked, "workers go on");
            }
            blocked = are_blocked;
        }
    }

    fn ended_certificates(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<_> = ended(&self.certificates).collect();
        let own = self.entry.certificates.iter();
        all.extend(own.flat_map(|store| ended(store).map(|part| format!("{ADMIN_PLANE}{part}"))));
        all
    }
}

/// The parts whose leaf's time is over.
fn ended(store: &Store) -> impl Iterator<Item = String> + use<> {
    let now = OffsetDateTime::now_utc();
    let over = store.accounts(now).into_iter().filter(move |part| {
        let leaf = part.served.as_ref().and_then(|bundle| bundle.chain.first());
        leaf.is_some_and(|leaf| leaf.not_after < now)
    });
    over.map(|part| part.part.to_string())
}

const LOOK: Duration = Duration::from_secs(1);
