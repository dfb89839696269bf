//! The plain views that cross the border between this room and the house.

mod app;
mod certificates;

use serde::{Deserialize, Serialize};

pub use app::{AppTrouble, AppView, BypassView};
pub use certificates::{
    AttemptView, CertificateSummary, CertificatesView, ChainElement, ClientAuthView, CrlView,
    PartSummary, PartView,
};

/// The body of `GET /status`.
#[derive(Clone, Debug, Serialize)]
pub struct StatusView {
    /// The sidecar's version.
    pub version: &'static str,
    /// `--service-name`.
    pub service: String,
    /// `starting`, `ready`, `draining` or `stopped`.
    pub phase: &'static str,
    /// Whether `/readyz` says 200.
    pub ready: bool,
    /// What is pending or wrong.
    pub pending: Vec<String>,
    /// What is wrong although clients are served.
    pub degraded: Vec<String>,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Worker threads.
    pub workers: usize,
    /// What is in force.
    pub target: TargetView,
    /// Whether the application can be reached past the sidecar; absent where that is not looked at, or cannot be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bypass: Option<BypassView>,
    /// What is served, in short.
    pub certificate: CertificateSummary,
    /// Counters and gauges.
    pub counts: serde_json::Value,
}

/// The body of `GET /target`.
#[derive(Clone, Debug, Serialize)]
pub struct TargetView {
    /// The target in force.
    pub url: String,
    /// The one from the configuration.
    pub configured: String,
    /// Whether the two differ. A restart returns to the configured one.
    pub drift: bool,
    /// Where a target on `localhost` has answered, which means either loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers_at: Option<String>,
}

/// The body of `PUT /target`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetChange {
    /// The new target, as in `--target`.
    pub url: String,
    /// Whether to connect to it before the change.
    #[serde(default = "yes")]
    pub probe: bool,
}

fn yes() -> bool {
    true
}

/// Why a change was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// A short stable word.
    pub reason: &'static str,
    /// What was refused, why, and what to try.
    pub detail: String,
}

/// The body of `GET /inflight`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InflightView {
    /// How many are open, also those that `entries` leaves out.
    pub total: usize,
    /// Worker threads that were asked.
    pub workers_asked: usize,
    /// Those that have answered in time. What the others have open is not counted.
    pub workers_answered: usize,
    /// Oldest first.
    pub entries: Vec<InflightEntry>,
}

/// One exchange or tunnel that is open.
#[derive(Clone, Debug, Serialize)]
pub struct InflightEntry {
    /// The id that its record will have.
    pub id: String,
    /// `exchange` or `tunnel`.
    pub kind: &'static str,
    /// Milliseconds since it began.
    pub age_ms: u64,
    /// The client's address.
    pub client: String,
    /// Who the client is by its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The request's method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The host that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path, without the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `1.0`, `1.1` or `2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<&'static str>,
    /// Whose move it is: `client`, `upstream`, `both` or `nobody`.
    pub waiting_for: &'static str,
    /// Bytes of the request's body so far.
    pub bytes_in: u64,
}
