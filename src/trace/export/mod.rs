//! Sends finished spans to a collector.

mod endpoint;

pub use endpoint::Endpoint;
