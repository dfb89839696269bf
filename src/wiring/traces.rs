//! What operators are told of the traces that are exported.

use portcullis_admin::{SpanCounts, TracesView};

use super::House;

impl House {
    pub(super) fn traces(&self) -> Option<TracesView> {
        let (exporter, traces) = self.exporter.as_ref().zip(self.config.traces.as_ref())?;
        let standing = exporter.standing();
        let counts = standing.counts;
        let since = standing.failing_since;
        Some(TracesView {
            exporter: standing.exporter,
            endpoint: standing.endpoint,
            sample: traces.sample,
            spans: SpanCounts {
                exported: counts.exported,
                dropped: counts.dropped,
                failed: counts.failed,
                rejected: counts.rejected,
            },
            failing_since: since.map(|since| humantime::format_rfc3339_millis(since).to_string()),
            last_error: standing.last_error,
        })
    }
}

/// Nobody is served badly without, but somebody may look for them.
pub(super) fn untaken(traces: &TracesView) -> Option<String> {
    traces.failing_since.as_ref()?;
    let why = traces.last_error.as_deref().unwrap_or_default();
    Some(format!("traces: {} takes no spans: {why}", traces.endpoint))
}
