#![doc = include_str!("../README.md")]

mod accept;
mod app;
mod certs;
#[cfg(test)]
mod fakes;
mod guard;
mod handles;
mod health;
mod inflight;
mod logs;
mod metrics;
mod problem;
mod routes;
mod server;
mod status;
mod target;
mod views;

pub use handles::{
    AppHealth, Certificates, Handles, Inflight, Lifecycle, Metrics, MetricsFormat, Passage,
    Records, Targets, Waiting,
};
pub use routes::{admin, probe};
pub use server::serve;
pub use views::{
    AppTrouble, AppView, AttemptView, BypassView, CertificateSummary, CertificatesView,
    ChainElement, ClientAuthView, CrlView, InflightEntry, InflightView, PartSummary, PartView,
    Refusal, StatusView, TargetChange, TargetView,
};
