//! What the tests stand on.

mod app;
mod client;
#[allow(dead_code, reason = "the exporter's own tests use the rest of it")]
mod collector;
pub(crate) mod frames;
mod pki;
mod sidecar;
mod wait;

pub(crate) use app::{App, Talk, hello, slow};
pub(crate) use client::{Answer, Client, H2, h2_get, read_answer, read_until, send};
pub(crate) use collector::{Collector, Mode, Seen};
pub(crate) use pki::{Ca, Leaf, Secret, tomorrow};
pub(crate) use sidecar::{Ended, Sidecar, portcullis, running};
pub(crate) use wait::{PATIENCE, eventually};
