#![doc = include_str!("../README.md")]

mod certs;
mod guard;
mod handles;
mod health;
mod logs;
mod metrics;
mod problem;
mod routes;
mod server;
mod status;
mod target;

pub use handles::{
    AttemptView, Certificates, CertificatesView, ChainElement, Handles, Lifecycle, Metrics,
    MetricsFormat, Records, Refusal, StatusView, TargetChange, TargetView, Targets, Waiting,
};
pub use routes::{admin, probe};
pub use server::serve;
