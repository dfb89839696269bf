//! The part of the configuration that is about traces.

use std::path::PathBuf;

use crate::trace::Endpoint;

/// Which traces are kept, and where they go.
#[derive(Clone, Debug)]
pub struct Traces {
    /// What the collector understands.
    pub exporter: Exporter,
    /// Where it is.
    pub endpoint: Endpoint,
    /// The share of traces kept where nobody who is believed has decided, from 0 to 1.
    pub sample: f64,
    /// The formats in which the application is told of the trace; what came with the request is told in its own format, too.
    pub propagation: Vec<Propagation>,
    /// CAs of a collector that is reached by https; none: the system's.
    pub ca: Option<PathBuf>,
    /// Fields sent along with every export, one `Name: value` a line.
    pub header_file: Option<PathBuf>,
}

/// `--trace-exporter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exporter {
    /// OpenTelemetry's protocol, protobuf over HTTP.
    Otlp,
    /// Zipkin's JSON, version 2.
    Zipkin,
}

/// `--trace-propagation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// `traceparent` and `tracestate`.
    W3c,
    /// `b3`.
    B3,
    /// `X-B3-TraceId` and its like.
    B3Multi,
}
