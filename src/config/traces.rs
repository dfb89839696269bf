//! The part of the configuration that is about traces.

use std::path::{Path, PathBuf};

use super::build::Fields;
use super::{certificates, recording};
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
    /// What a collector that is reached by https is verified with; none where it is reached in clear.
    pub ca: Option<Authorities>,
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

/// Whose certificates a collector may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// Those of `--trace-ca`.
    File(PathBuf),
    /// Those that the system trusts.
    System(PathBuf),
}

impl Exporter {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Otlp => "otlp",
            Self::Zipkin => "zipkin",
        }
    }

    /// Where a collector on the same host listens, and takes spans.
    fn usual(self) -> (&'static str, &'static str) {
        match self {
            Self::Otlp => ("http://127.0.0.1:4318", "/v1/traces"),
            Self::Zipkin => ("http://127.0.0.1:9411", "/api/v2/spans"),
        }
    }

    /// Tracers that speak this format tell each other of a trace in these.
    fn propagation(self) -> Vec<Propagation> {
        match self {
            Self::Otlp => vec![Propagation::W3c],
            Self::Zipkin => vec![Propagation::W3c, Propagation::B3Multi],
        }
    }
}

impl Propagation {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::W3c => "w3c",
            Self::B3 => "b3",
            Self::B3Multi => "b3multi",
        }
    }
}

impl Authorities {
    /// The PEM file.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::System(path) => path,
        }
    }
}

/// The outer none: something is missing that nothing can stand in for. The inner: there are no traces.
pub(super) fn read(fields: &mut Fields<'_>) -> Option<Option<Traces>> {
    match fields.optional("trace-exporter", exporter) {
        Some(Some(exporter)) => all(fields, exporter).map(Some),
        Some(None) => {
            fields.parse("trace-sample", recording::share)?;
            left_over(fields);
            Some(None)
        }
        // Whichever is meant: what else is wrong is found in the same run.
        None => all(fields, Exporter::Otlp).map(|_| None),
    }
}

fn all(fields: &mut Fields<'_>, exporter: Exporter) -> Option<Traces> {
    let sample = fields.parse("trace-sample", recording::share)?;
    let (place, path) = exporter.usual();
    let endpoint = fields
        .optional("trace-endpoint", |text| Endpoint::parse(text, path))
        .or_else(|| Endpoint::parse(place, path).ok())?;
    Some(Traces {
        exporter,
        sample,
        propagation: propagation(fields, exporter),
        ca: authorities(fields, &endpoint),
        header_file: fields.optional("trace-header-file", certificates::path),
        endpoint,
    })
}

/// Whoever says anything about traces wants some, unless it says that it does not: that is how they are switched off.
fn left_over(fields: &mut Fields<'_>) {
    if fields.raw.is_explicit("trace-exporter") {
        return;
    }
    for name in NEED_EXPORTER {
        if fields.raw.is_explicit(name) {
            fields.mistakes.push(format!(
                "--{name} without --trace-exporter: no traces are made; add --trace-exporter otlp (or zipkin)"
            ));
        }
    }
}

fn exporter(text: &str) -> Result<Option<Exporter>, String> {
    match text {
        "off" => Ok(None),
        "otlp" => Ok(Some(Exporter::Otlp)),
        "zipkin" => Ok(Some(Exporter::Zipkin)),
        _ => Err(format!("{text:?} is not known; use off, otlp or zipkin")),
    }
}

/// Once each, however often they are named.
fn propagation(fields: &mut Fields<'_>, exporter: Exporter) -> Vec<Propagation> {
    let mut formats = Vec::new();
    for format in fields.all("trace-propagation", format) {
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    if formats.is_empty() {
        formats = exporter.propagation();
    }
    formats
}

fn format(text: &str) -> Result<Propagation, String> {
    match text {
        "w3c" => Ok(Propagation::W3c),
        "b3" => Ok(Propagation::B3),
        "b3multi" => Ok(Propagation::B3Multi),
        _ => Err(format!("{text:?} is not known; use w3c, b3 or b3multi")),
    }
}

fn authorities(fields: &mut Fields<'_>, endpoint: &Endpoint) -> Option<Authorities> {
    let given = fields.optional("trace-ca", certificates::path);
    if !endpoint.is_secure {
        if given.is_some() {
            fields.mistakes.push(format!(
                "--trace-ca with {endpoint}: nothing is verified over plain HTTP; give the --trace-endpoint as https://"
            ));
        }
        return None;
    }
    if let Some(file) = given {
        return Some(Authorities::File(file));
    }
    match bundle() {
        Ok(file) => Some(Authorities::System(file)),
        Err(places) => {
            fields.mistakes.push(format!(
                "--trace-endpoint {endpoint}: there are no CAs here to verify it with ({places}); give them by --trace-ca FILE"
            ));
            None
        }
    }
}

/// Where the system keeps the CAs that it trusts; or where they were looked for.
fn bundle() -> Result<PathBuf, String> {
    let asked = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
    let places: Vec<PathBuf> = match asked {
        Some(path) => vec![path.into()],
        None => BUNDLES.iter().map(PathBuf::from).collect(),
    };
    let shown: Vec<_> = places
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    let found = places.into_iter().find(|place| place.is_file());
    found.ok_or_else(|| shown.join(", "))
}

/// What is of no use where no spans are made.
const NEED_EXPORTER: [&str; 5] = [
    "trace-endpoint",
    "trace-sample",
    "trace-propagation",
    "trace-ca",
    "trace-header-file",
];

/// Debian and Alpine, Fedora, RHEL, openSUSE, Alpine before.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
