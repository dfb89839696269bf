//! The way of finished lines: gathered by each worker, queued, written by the log thread.

mod layer;
mod lines;
mod output;
mod queue;
mod writer;

pub(crate) use layer::{RECORD, RecordLayer, batch, hand_over};
pub(in crate::records) use lines::Lines;
pub(crate) use output::Output;
pub(crate) use queue::Counts;
pub(crate) use writer::{LineWriter, LogHandle};
