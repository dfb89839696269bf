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
mod views;

pub use handles::{
    Certificates, Handles, Lifecycle, Metrics, MetricsFormat, Records, Targets, Waiting,
};
pub use routes::{admin, probe};
pub use server::serve;
pub use views::{
    AttemptView, CertificateSummary, CertificatesView, ChainElement, ClientAuthView, CrlView,
    PartSummary, PartView, Refusal, StatusView, TargetChange, TargetView,
};
