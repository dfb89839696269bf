//! The `tracing` layer that turns record events into lines of JSON.
//!
//! A worker formats into a buffer of its own and hands it to the log thread in batches: when it is full, and when the
//! worker is about to sleep. No lock is shared between workers on the way, and no byte from a client can break a line.
//! Other threads have little to say and are not asked before they sleep: their lines go at once.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::json::format;
use super::ring::{Ring, Shard};
use super::writer::Sink;

/// The target of record events.
pub(crate) const RECORD: &str = "portcullis::record";

/// Formats record events, keeps them in the ring and sends them to the log thread.
#[derive(Debug)]
pub(crate) struct RecordLayer {
    ring: Arc<Ring>,
    sink: Sink,
    /// The share of all threads that are no workers.
    common: Arc<Mutex<Shard>>,
}

impl RecordLayer {
    /// A layer that writes to `sink` and keeps what it wrote in `ring`.
    pub(crate) fn new(ring: Arc<Ring>, sink: Sink) -> Self {
        let common = ring.shard();
        Self { ring, sink, common }
    }
}

impl<S: Subscriber> Layer<S> for RecordLayer {
    fn on_event(&self, event: &Event<'_>, _ctx: Context<'_, S>) {
        // While a thread is torn down it is no worker any more.
        let batched = LANE.try_with(|lane| match &mut *lane.borrow_mut() {
            Lane::None => false,
            lane => {
                lane.write(event, self);
                true
            }
        });
        if !batched.unwrap_or(false) {
            let mut line = Vec::with_capacity(LINE);
            format(event, &mut line);
            Ring::keep(&self.common, &line);
            line.push(b'\n');
            self.sink.send(line.into(), 1);
        }
    }
}

/// Makes the calling thread a worker: its lines are batched until [`hand_over`].
pub(crate) fn batch() {
    LANE.set(Lane::Unused);
}

/// Hands this worker's finished lines to the log thread. Its runtime calls it before it sleeps.
pub(crate) fn hand_over() {
    let _ = LANE.try_with(|lane| {
        if let Lane::Open(batch) = &mut *lane.borrow_mut() {
            batch.hand_over();
        }
    });
}

thread_local! {
    static LANE: RefCell<Lane> = const { RefCell::new(Lane::None) };
}

/// How a thread's records go out.
enum Lane {
    /// One by one.
    None,
    /// In batches, of which there was none yet.
    Unused,
    /// In batches.
    Open(Batch),
}

/// One worker's buffer and its share of the ring.
struct Batch {
    buffer: Vec<u8>,
    lines: u64,
    shard: Arc<Mutex<Shard>>,
    sink: Sink,
}

impl Lane {
    fn write(&mut self, event: &Event<'_>, layer: &RecordLayer) {
        if !matches!(self, Self::Open(_)) {
            *self = Self::Open(Batch {
                buffer: Vec::with_capacity(BATCH),
                lines: 0,
                shard: layer.ring.shard(),
                sink: layer.sink.clone(),
            });
        }
        if let Self::Open(batch) = self {
            batch.write(event);
        }
    }
}

impl Batch {
    fn write(&mut self, event: &Event<'_>) {
        let start = self.buffer.len();
        format(event, &mut self.buffer);
        Ring::keep(&self.shard, &self.buffer[start..]);
        self.buffer.push(b'\n');
        self.lines += 1;
        if self.buffer.len() >= BATCH {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        if !self.buffer.is_empty() {
            // An exact copy: with nobody reading, the queue holds what its bound says and not the room of many batches.
            self.sink.send(
                self.buffer.as_slice().into(),
                std::mem::take(&mut self.lines),
            );
            self.buffer.clear();
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// Room for one line.
const LINE: usize = 512;
/// Bytes of a batch: about 25 records.
const BATCH: usize = 16 * 1024;
