#![doc = include_str!("../README.md")]

mod accept;
mod allowance;
mod app;
mod certificates;
mod condition;
mod configuration;
#[cfg(test)]
mod fakes;
mod guard;
mod handles;
mod health;
mod inflight;
mod json;
mod log_level;
mod logs;
mod metrics;
mod openapi;
mod page;
mod problem;
mod routes;
mod server;
mod status;
mod target;
mod views;

pub use condition::IfMatch;
pub use guard::{Access, Audit, Caller, Scope, Tokens};
pub use handles::{
    AppHealth, Certificates, Configuration, Handles, Inflight, Lifecycle, LogLevel, Metrics,
    MetricsFormat, Passage, Records, Targets, Waiting,
};
pub use routes::{admin, probe};
pub use server::{Door, Io, Peer, Secure, Secured, serve};
pub use views::{
    AppTrouble, AppView, AttemptView, BypassView, CertificateSummary, CertificatesView,
    ChainElement, CheckedView, ClientAuthView, ConfigView, Connections, Counts, CrlView, DrainView,
    InEffectView, InflightEntry, InflightView, Latency, LogDropped, LogLevelView, OptionView,
    PartSummary, PartView, PhaseView, Refusal, RestrictionView, RollbackView, SpanCounts,
    StatusView, TargetChange, TargetView, TracesView, TrialView, UpstreamConnections,
};
