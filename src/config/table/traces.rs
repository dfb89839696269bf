//! The options about traces: which are kept, where they go, and how the application is told of them.

use super::super::options::{Opt, list, opt};

const HEADING: &str = "Traces";

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        HEADING,
        "trace-exporter",
        "FORMAT",
        Some("off"),
        "Make spans of requests and send them to a collector: otlp, which is OTLP/HTTP with protobuf (Jaeger and every OpenTelemetry collector take it); zipkin, its JSON v2; off. The variables OTEL_* are not read",
    ),
    opt(
        HEADING,
        "trace-endpoint",
        "URL",
        None,
        "Where the collector takes spans, http:// or https://. Default: http://127.0.0.1:4318/v1/traces for otlp, http://127.0.0.1:9411/api/v2/spans for zipkin; without a path it is that path",
    ),
    opt(
        HEADING,
        "trace-sample",
        "SHARE",
        Some("100%"),
        "Keep this share of the traces about which no --trusted-proxy has decided, like 0.1 or 10%",
    ),
    list(
        HEADING,
        "trace-propagation",
        "FORMAT",
        None,
        "How the application is told of the trace: w3c, b3, b3multi; in the format that came with the request, too. Default: w3c for otlp, w3c and b3multi for zipkin",
    ),
    opt(
        HEADING,
        "trace-ca",
        "FILE",
        None,
        "CAs that the certificate of an https:// collector may come from, PEM; default: the system's. Read again when it changes",
    ),
    opt(
        HEADING,
        "trace-header-file",
        "FILE",
        None,
        "Fields sent to the collector with every export, one `Name: value` a line, like an Authorization. Read again when it changes",
    ),
];
