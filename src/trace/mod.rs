//! Distributed traces: what came with a request is continued or a trace is begun (`context`, `propagation`, `sampling`), and
//! what is sampled becomes spans, which a worker puts into its lane and the control thread exports.

mod export;
mod lane;
mod span;

pub(crate) use export::{Counts, Endpoint, Exporter, Resource, Standing, examine};
pub(crate) use lane::{Lane, Lanes};
pub(crate) use span::{Attribute, Kind, Span, SpanId, Status, TraceId, Value};
