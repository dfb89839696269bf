//! What became of spans, where there are any.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::expose::Facts;
use super::snapshot::counter;

pub(super) fn encode(to: &mut DescriptorEncoder<'_>, facts: &Facts) -> fmt::Result {
    let Some(counts) = facts.traces else {
        return Ok(());
    };
    let results = [
        ("exported", counts.exported),
        ("dropped", counts.dropped),
        ("failed", counts.failed),
        ("rejected", counts.rejected),
    ];
    counter(
        to,
        "trace_spans",
        "Spans by what became of them: exported; dropped, because too many waited; failed, because the collector was away; rejected by it",
        results.map(|(result, count)| (vec![("result", result.to_owned())], count)),
    )
}
