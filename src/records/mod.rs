//! What an exchange leaves behind: one record, written by a thread of its own and kept in a ring for `/logs`.

mod asked;
mod class;
mod event;
mod exchange;
mod format;
mod id;
mod inflight;
mod log;
mod moment;
mod notice;
mod policy;
mod ring;
mod spans;
mod traced;

pub(crate) use event::{Audit, Handshake, audit, handshake};
pub(crate) use exchange::Exchange;
pub(crate) use format::{Fields, Format, cut, write_text};
pub(crate) use inflight::{Inflight, Open, Roll};
pub(crate) use log::{
    Counts, LineWriter, LogHandle, Output, RECORD, RecordLayer, batch, hand_over,
};
pub(crate) use notice::Notice;
pub(crate) use policy::Policy;
pub(crate) use ring::Ring;
