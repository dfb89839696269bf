//! What an exchange leaves behind: one record, formatted once, written to stdout by a thread of its own and kept in a
//! ring for `/logs`.

mod event;
mod exchange;
mod json;
mod layer;
mod ring;
mod writer;

pub(crate) use event::{Handshake, audit, handshake};
pub(crate) use exchange::Exchange;
pub(crate) use layer::{RECORD, RecordLayer, batch, hand_over};
pub(crate) use ring::Ring;
pub(crate) use writer::{Drops, LineWriter};
