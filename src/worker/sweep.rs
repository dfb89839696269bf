//! What a worker does once a second, whether it is busy or not.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Worker;
use crate::records;

impl Worker {
    /// Closes upstream connections that were not used for too long.
    pub(super) async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let target = self.target().number;
            self.pool.sweep(target);
            let limit = self.config.limits.pool_idle;
            self.multiplex.sweep(limit, target);
            let idle = self.pool.len() + self.multiplex.idle();
            self.site.meter.conns.is_alive();
            // A worker that is busy all the time does not sleep, and its last records would wait.
            records::hand_over();
            give_back_memory();
            self.site
                .meter
                .conns
                .upstream_idle
                .store(idle as i64, Ordering::Relaxed);
        }
    }
}

/// Has the allocator look for memory to give back. mimalloc does when a page of its own comes or goes, and after a burst of
/// connections none may for a long time: then tens of KiB stay for each connection that is idle.
fn give_back_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(PAGE)));
}

/// Larger than what shares a page with others.
const PAGE: usize = 1 << 20;
const SWEEP: Duration = Duration::from_secs(1);
