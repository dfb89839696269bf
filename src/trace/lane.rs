//! The way of finished spans from a worker to the exporter. A worker puts them into a lane of its own, whose lock the exporter
//! asks for once in a while and nobody else does; what finds it full is dropped and counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::span::Span;

/// One worker's.
#[derive(Debug)]
pub(crate) struct Lane {
    held: Mutex<Held>,
    /// What it may hold.
    most: Held<()>,
    dropped: AtomicU64,
    /// Wakes the exporter.
    filling: Arc<Notify>,
}

/// Spans, and the bytes that they take.
#[derive(Debug, Default)]
struct Held<T = Vec<Span>> {
    spans: T,
    count: usize,
    bytes: usize,
}

/// Those of all workers.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    lanes: Arc<Mutex<Vec<Arc<Lane>>>>,
    workers: usize,
    filling: Arc<Notify>,
}

impl Lane {
    /// Takes a finished span along, or counts it as dropped.
    pub(crate) fn put(&self, span: Span) {
        let bytes = span.size();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.count >= self.most.count || held.bytes + bytes > self.most.bytes {
            drop(held);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_half = self.is_half(&held);
        held.spans.push(span);
        held.count += 1;
        held.bytes += bytes;
        let is_half = self.is_half(&held);
        drop(held);
        if is_half && !was_half {
            self.filling.notify_one();
        }
    }

    fn is_half(&self, held: &Held) -> bool {
        held.count >= self.most.count / 2 || held.bytes >= self.most.bytes / 2
    }

    fn take(&self) -> Vec<Span> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *held).spans
    }
}

impl Lanes {
    /// Room for [`MOST_SPANS`] and [`MOST_BYTES`], divided among so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            lanes: Arc::default(),
            workers: workers.max(1),
            filling: Arc::default(),
        }
    }

    /// A lane for one more worker.
    pub(crate) fn lane(&self) -> Arc<Lane> {
        let lane = Arc::new(Lane {
            held: Mutex::default(),
            most: Held {
                spans: (),
                count: (MOST_SPANS / self.workers).max(2),
                bytes: (MOST_BYTES / self.workers).max(LEAST_BYTES),
            },
            dropped: AtomicU64::new(0),
            filling: Arc::clone(&self.filling),
        });
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.push(Arc::clone(&lane));
        lane
    }

    /// Everything that is there.
    pub(crate) fn take(&self) -> Vec<Span> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.iter().flat_map(|lane| lane.take()).collect()
    }

    /// Spans that found their lane full.
    pub(crate) fn dropped(&self) -> u64 {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = lanes
            .iter()
            .map(|lane| lane.dropped.load(Ordering::Relaxed));
        dropped.sum()
    }

    /// Done when a lane is half full, once for each time.
    pub(crate) async fn filling(&self) {
        self.filling.notified().await;
    }
}

/// Spans that wait for the exporter at most, over all workers.
const MOST_SPANS: usize = 8192;
/// Bytes of them.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Room for a few spans of any size.
const LEAST_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::{Duration, SystemTime};

    use super::super::span::{Kind, SpanId, Status, TraceId};
    use super::*;

    fn span(name: usize) -> Span {
        Span {
            trace: TraceId {
                bytes: [1; 16],
                is_short: false,
            },
            id: SpanId([1; 8]),
            parent: None,
            state: None,
            kind: Kind::Server,
            name: "x".repeat(name).into(),
            started: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            status: Status::Unset,
            attributes: Vec::new(),
        }
    }

    fn is_told(lanes: &Lanes) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(lanes.filling()).poll(&mut context).is_ready()
    }

    #[test]
    fn a_lane_that_is_half_full_is_told_once_by_number_or_by_bytes() {
        let lanes = Lanes::new(4);
        let lane = lanes.lane();
        for (count, name) in [(MOST_SPANS / 8, 1), (2, MOST_BYTES / 16)] {
            for _ in 1..count {
                lane.put(span(name));
                assert!(!is_told(&lanes));
            }
            lane.put(span(name));
            assert!(is_told(&lanes));
            lane.put(span(name));
            assert!(!is_told(&lanes));
            assert_eq!(lanes.take().len(), count + 1);
        }
    }

    #[test]
    fn a_worker_has_its_share_and_no_other() {
        let lanes = Lanes::new(2);
        let [one, other] = [lanes.lane(), lanes.lane()];
        for _ in 0..MOST_SPANS {
            one.put(span(1));
        }
        assert_eq!(lanes.dropped(), MOST_SPANS as u64 / 2);
        other.put(span(1));
        assert_eq!(lanes.take().len(), MOST_SPANS / 2 + 1);
        one.put(span(1));
        assert_eq!(lanes.take().len(), 1);
    }
}
