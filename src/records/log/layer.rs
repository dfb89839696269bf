//! The `tracing` layer that turns record events into lines.
//!
//! A worker formats into a buffer of its own and hands it to the ring and to the log thread in batches: when it is full, and
//! when the worker is about to sleep. A lock that workers share is taken once for a batch, and no byte from a client can break a
//! line. Other threads have little to say and are not asked before they sleep: their lines go at once.

use std::cell::RefCell;
use std::sync::Arc;

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::lines::Lines;
use super::queue::Sink;
use crate::records::class::Class;
use crate::records::format::{Fields, Format, Keys, write_json};
use crate::records::ring::Ring;

/// The target of record events: no module's path begins so, because filters go by how a target begins.
pub(crate) const RECORD: &str = "portcullis.record";

/// Formats record events, keeps them in the ring and sends them to the log thread.
#[derive(Debug)]
pub(crate) struct RecordLayer {
    ring: Arc<Ring>,
    sink: Sink,
    format: Format,
    /// The share of successes that is written, from 0 to 1.
    sample: f64,
}

impl RecordLayer {
    /// A layer that writes to `sink` and keeps all records in `ring`.
    pub(crate) fn new(ring: Arc<Ring>, sink: Sink, format: Format, sample: f64) -> Self {
        Self {
            ring,
            sink,
            format,
            sample,
        }
    }

    fn batch(&self, room: usize) -> Batch {
        let is_as_kept = self.format == Format::Json && self.sample >= 1.0;
        Batch {
            lines: Lines::with_room(room),
            keys: Keys::default(),
            shown: (!is_as_kept).then(|| Shown {
                format: self.format,
                sample: self.sample,
                lines: Lines::with_room(room),
                fields: Fields::default(),
                left_out: 0,
            }),
            ring: Arc::clone(&self.ring),
            sink: self.sink.clone(),
        }
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
            self.batch(LINE).write(event);
        }
    }
}

/// Makes the calling thread a worker: its lines are batched until [`hand_over`].
pub(crate) fn batch() {
    LANE.set(Lane::Unused);
}

/// Hands this worker's finished lines over. Its runtime calls it before it sleeps.
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
    Open(Box<Batch>),
}

/// Lines that are gathered. Dropped, it hands them over.
struct Batch {
    /// As JSON.
    lines: Lines,
    keys: Keys,
    /// As they are written, where that is different.
    shown: Option<Shown>,
    ring: Arc<Ring>,
    sink: Sink,
}

/// Lines in another format than they are kept in, or not all of them.
struct Shown {
    format: Format,
    sample: f64,
    lines: Lines,
    fields: Fields,
    left_out: u64,
}

impl Lane {
    fn write(&mut self, event: &Event<'_>, layer: &RecordLayer) {
        if !matches!(self, Self::Open(_)) {
            *self = Self::Open(Box::new(layer.batch(BATCH)));
        }
        if let Self::Open(batch) = self {
            batch.write(event);
        }
    }
}

impl Batch {
    fn write(&mut self, event: &Event<'_>) {
        let class = self.lines.add(|out| write_json(event, &mut self.keys, out));
        if let Some(shown) = &mut self.shown {
            shown.write(event, class, self.lines.last());
        }
        if self.lines.bytes().len() >= BATCH {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        self.ring.keep(&self.lines);
        match &mut self.shown {
            None => self.sink.send(&self.lines),
            Some(shown) => shown.hand_over(&self.sink),
        }
        self.lines.clear();
    }
}

impl Shown {
    fn write(&mut self, event: &Event<'_>, class: Class, line: &[u8]) {
        if class == Class::Success && fastrand::f64() >= self.sample {
            self.left_out += 1;
            return;
        }
        self.lines.add(|out| {
            self.format.write(event, line, &mut self.fields, out);
            class
        });
    }

    fn hand_over(&mut self, sink: &Sink) {
        sink.send(&self.lines);
        sink.sampled_out(std::mem::take(&mut self.left_out));
        self.lines.clear();
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
