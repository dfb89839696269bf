//! What this room must be given: small traits, implemented by the one file of the root package that sees both sides,
//! and the plain views that cross the border.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A boxed future, so that the traits below can be objects.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything the two planes can ask.
#[derive(Clone)]
pub struct Handles {
    /// Phase and readiness.
    pub lifecycle: Arc<dyn Lifecycle>,
    /// The recent records.
    pub records: Arc<dyn Records>,
    /// The upstream target.
    pub targets: Arc<dyn Targets>,
    /// The certificates.
    pub certificates: Arc<dyn Certificates>,
    /// The metrics registry.
    pub metrics: Arc<dyn Metrics>,
}

/// Where the process is in its life.
pub trait Lifecycle: Send + Sync {
    /// What keeps the sidecar from being ready, in words; empty when it is ready.
    fn pending(&self) -> Vec<String>;
    /// The numbers for `/status`.
    fn status(&self) -> StatusView;
}

/// The recent records.
pub trait Records: Send + Sync {
    /// All records kept, newest first, each one line of JSON without its line end.
    fn recent(&self) -> Vec<Arc<[u8]>>;
}

/// The upstream target.
pub trait Targets: Send + Sync {
    /// What is in force.
    fn current(&self) -> TargetView;
    /// Changes it as a transaction: a refused change changes nothing.
    fn change(&self, change: TargetChange) -> Waiting<'_, Result<TargetView, Refusal>>;
}

/// The certificates.
pub trait Certificates: Send + Sync {
    /// What is served and how the last attempt ended.
    fn view(&self) -> CertificatesView;
    /// Reloads now and waits for the outcome.
    fn reload(&self) -> Waiting<'_, AttemptView>;
}

/// The metrics registry.
pub trait Metrics: Send + Sync {
    /// Everything, in the asked-for exposition format.
    fn render(&self, format: MetricsFormat) -> String;
}

/// Which exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Prometheus,
}

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
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Worker threads.
    pub workers: usize,
    /// What is in force.
    pub target: TargetView,
    /// What is served.
    pub certificate: CertificatesView,
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

/// The body of `GET /certs`.
#[derive(Clone, Debug, Serialize)]
pub struct CertificatesView {
    /// Where the certificate comes from.
    pub source: String,
    /// The number of the generation served; 0 before the first certificate.
    pub generation: u64,
    /// The chain served, leaf first.
    pub chain: Vec<ChainElement>,
    /// What is legal but surprising.
    pub warnings: Vec<String>,
    /// The last attempt that was more than a look at unchanged files.
    pub last_attempt: Option<AttemptView>,
    /// When the files on disk were last found to be what is served (RFC 3339).
    pub last_success: Option<String>,
    /// The last error, if the last attempt failed.
    pub last_error: Option<String>,
}

/// One certificate of the chain.
#[derive(Clone, Debug, Serialize)]
pub struct ChainElement {
    /// Distinguished name.
    pub subject: String,
    /// The issuer's.
    pub issuer: String,
    /// Subject alternative names.
    pub names: Vec<String>,
    /// Lower-case hex with colons.
    pub serial: String,
    /// Over the DER, lower-case hex.
    pub sha256: String,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
}

/// How one attempt to reload ended; the body of `POST /certs/reload`.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptView {
    /// RFC 3339.
    pub time: String,
    /// `start`, `notify`, `poll`, `signal` or `admin`.
    pub trigger: &'static str,
    /// `published`, `unchanged` or `failed`.
    pub result: &'static str,
    /// A short stable word, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The error in words, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The generation served after it.
    pub generation: u64,
    /// SHA-256 of the leaf served before.
    pub old: Option<String>,
    /// SHA-256 of the leaf served after.
    pub new: Option<String>,
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handles").finish_non_exhaustive()
    }
}
