#![doc = include_str!("../README.md")]

mod bundle;
mod crypto;
mod error;
mod facts;
mod pem;
mod server_config;
mod source;
mod store;
mod watch;

pub use bundle::Bundle;
pub use crypto::provider;
pub use error::LoadError;
pub use facts::Facts;
pub use server_config::{MinVersion, Policy};
pub use source::{Snapshot, Source};
pub use store::{Attempt, Counts, Generation, Outcome, Store, Trigger};
pub use watch::watch;
