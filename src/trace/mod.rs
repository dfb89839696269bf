//! Distributed traces: what came with a request is continued or a trace is begun (`propagation`, `tracer`), and what is
//! kept becomes spans, which a worker puts into its `lane` and the control thread exports (`export`).

mod export;
mod ids;
mod lane;
mod propagation;
mod span;
mod tracer;

pub(crate) use export::{Counts, Endpoint, Exporter, Resource, examine};
pub(crate) use ids::text;
pub(crate) use lane::Lanes;
pub(crate) use span::{Attribute, Kind, Span, SpanId, Status, Value};
pub(crate) use tracer::{Attempt, Trace, Tracer};
