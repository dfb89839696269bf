//! What there is to say of the whole.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{BypassView, CertificateSummary, TargetView, TracesView};

/// The body of `GET /status`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StatusView {
    /// The sidecar's version.
    pub version: &'static str,
    /// `--service-name`.
    pub service: String,
    /// `starting`, `ready`, `draining` or `stopped`.
    pub phase: &'static str,
    /// Whether `/readyz` says 200.
    pub ready: bool,
    /// How far the drain is; absent before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainView>,
    /// Connections that had to be cut at the end of the drain; absent before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<usize>,
    /// What is pending or wrong.
    pub pending: Vec<String>,
    /// What is wrong although clients are served.
    pub degraded: Vec<String>,
    /// What the process has given up, so that whoever takes it over has little of it.
    pub restrictions: Vec<RestrictionView>,
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
    /// Where traces go; absent where they are not exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<TracesView>,
    /// Counters and gauges.
    pub counts: Counts,
}

/// How far a drain is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DrainView {
    /// `announcing` (not ready, still accepting), `finishing` (accepting no more), `cutting`, or `over`.
    pub step: &'static str,
    /// Until what is not finished is cut; 0 where that is over.
    pub seconds_left: u64,
    /// Connections that came to their own end since the doors were closed, by kind: `handshake`, `http1`, `http2`, `upgraded`;
    /// absent until it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained: Option<BTreeMap<&'static str, usize>>,
    /// Those that had to be cut; absent until it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<BTreeMap<&'static str, usize>>,
}

/// Something that the process has given up.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RestrictionView {
    /// `no_new_privileges`, `not_dumpable`, `landlock` or `seccomp`.
    pub name: &'static str,
    /// `on`, `partial` (as far as the kernel can), `off` (by a flag) or `unavailable`.
    pub state: &'static str,
    /// What it keeps from, or why it is not in force.
    pub detail: String,
}

/// The numbers that matter, since the start or now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Counts {
    /// Exchanges.
    pub requests: u64,
    /// Those that failed.
    pub requests_failed: u64,
    /// The same by the word for why.
    pub failed_by_reason: BTreeMap<&'static str, u64>,
    /// Exchanges and tunnels in progress.
    pub in_flight: i64,
    /// Quantiles of the whole duration.
    pub latency_ms: Latency,
    /// Request body bytes.
    pub request_bytes: u64,
    /// Response body bytes.
    pub response_bytes: u64,
    /// TLS handshakes.
    pub handshakes: u64,
    /// Those that failed.
    pub handshakes_failed: u64,
    /// Client connections.
    pub connections: Connections,
    /// Connections to the application.
    pub upstream_connections: UpstreamConnections,
    /// Record lines that were not written.
    pub log_dropped: LogDropped,
    /// Record lines that `--log-sample` left out.
    pub log_sampled_out: u64,
}

/// Milliseconds; null before the first exchange.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Latency {
    /// Half took no longer.
    pub p50: Option<f64>,
    /// Nine of ten took no longer.
    pub p90: Option<f64>,
    /// Ninety-nine of a hundred took no longer.
    pub p99: Option<f64>,
}

/// Client connections now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Connections {
    /// In the TLS handshake.
    pub handshake: i64,
    /// Beyond it.
    pub open: i64,
    /// Of these, between two requests.
    pub idle: i64,
}

/// Connections to the application now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UpstreamConnections {
    /// In use.
    pub active: i64,
    /// Kept for the next request.
    pub idle: i64,
}

/// Record lines dropped, by class.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogDropped {
    /// Of exchanges that went well.
    pub success: u64,
    /// Of what failed.
    pub error: u64,
    /// Of audit records.
    pub audit: u64,
}

/// The body of the answer to `POST /drain`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PhaseView {
    /// `starting`, `ready`, `draining` or `stopped`.
    pub phase: &'static str,
}
