#![doc = include_str!("../README.md")]

mod attempt;
mod bundle;
mod crypto;
mod error;
mod facts;
mod pem;
mod server_config;
mod source;
mod store;
mod watch;

pub use attempt::{Attempt, Counts, Outcome, Trigger};
pub use bundle::Bundle;
pub use crypto::provider;
pub use error::LoadError;
pub use facts::Facts;
pub use server_config::{MinVersion, Policy};
pub use source::{Snapshot, Source};
pub use store::{Generation, Store};
pub use watch::watch;
