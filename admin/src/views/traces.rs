//! What there is to say of the traces that are exported.

use serde::Serialize;
use utoipa::ToSchema;

/// Where spans go, and what became of them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TracesView {
    /// `otlp` or `zipkin`.
    pub exporter: &'static str,
    /// `--trace-endpoint`.
    pub endpoint: String,
    /// The share of traces kept where no trusted proxy has decided, from 0 to 1.
    pub sample: f64,
    /// Spans since the start.
    pub spans: SpanCounts,
    /// Since when the collector takes nothing, RFC 3339; null while all is well.
    pub failing_since: Option<String>,
    /// Why it last took something not, also after it has become well again; null where that never was.
    pub last_error: Option<String>,
}

/// Spans by what became of them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SpanCounts {
    /// The collector took them.
    pub exported: u64,
    /// They found no room to wait in.
    pub dropped: u64,
    /// The collector was not there for too long.
    pub failed: u64,
    /// The collector did not want them.
    pub rejected: u64,
}
