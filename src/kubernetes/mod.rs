//! Injection: a sidecar for what is already there, by a command over a manifest or by an admission webhook.
//!
//! ```text
//!  manifest ─► stream ─► pod, service, around ─► changes ─► writing ─► manifest, notes
//!               yaml      settings                 │         yaml, record
//!  AdmissionReview ─► webhook ─► pod, service ─────┴──────► JSON Patch
//! ```

mod around;
mod change;
mod commands;
mod erasing;
mod found;
#[cfg(test)]
mod generated;
mod inject;
mod manifest;
mod mutate;
mod pod;
#[cfg(test)]
mod properties;
mod record;
mod service;
mod settings;
mod stream;
#[cfg(test)]
mod styled;
pub mod webhook;
mod writing;
mod yaml;

pub use commands::{commands, inject, uninject};
