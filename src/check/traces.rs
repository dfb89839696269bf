//! Where spans go, and what is needed for that.

use std::fmt::Write as _;

use super::Remark;
use crate::config::{Config, Exporter, Traces};
use crate::trace::examine;

/// Describes the exporter's files; whether all can be used.
pub(super) fn describe(text: &mut String, config: &Config) -> bool {
    let mut is_sound = true;
    for file in config.traces.iter().flat_map(examine) {
        let _ = writeln!(text, "traces: {}", file.path.display());
        is_sound &= file.found.is_ok();
        let _ = match file.found {
            Ok(found) => writeln!(text, "  {found}"),
            Err(why) => writeln!(
                text,
                "  error: {why}\n  `run` would start and export no spans"
            ),
        };
    }
    is_sound
}

/// Who learns of requests by their spans.
pub(super) fn of(config: &Config) -> Vec<Remark> {
    let Some(traces) = &config.traces else {
        return Vec::new();
    };
    let mut remarks = vec![leaves(traces)];
    if traces.exporter == Exporter::Otlp && traces.endpoint.port == GRPC {
        remarks.push(Remark::Warning(format!(
            "--trace-endpoint {}: 4317 is OTLP's port for gRPC; OTLP/HTTP is spoken here, whose port is 4318",
            traces.endpoint
        )));
    }
    remarks
}

fn leaves(traces: &Traces) -> Remark {
    let Traces {
        exporter, endpoint, ..
    } = traces;
    let formats: Vec<_> = traces
        .propagation
        .iter()
        .map(|format| format.word())
        .collect();
    let words = format!(
        "spans, with paths and addresses of clients, go to {endpoint} ({}) for {} of the traces about which no --trusted-proxy has decided; the application is told of the trace as {}",
        exporter.word(),
        share(traces.sample),
        formats.join(", ")
    );
    if endpoint.is_secure || endpoint.is_local() {
        Remark::Fact(words)
    } else {
        Remark::Warning(format!(
            "{words}; they leave the pod in plain HTTP: https:// hides them from the network"
        ))
    }
}

fn share(share: f64) -> String {
    format!("{}%", (share * 100_000.0).round() / 1000.0)
}

const GRPC: u16 = 4317;

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn told(line: &str) -> Vec<Remark> {
        of(&read(&format!("--trace-exporter {line}")))
    }

    #[test]
    fn where_spans_go_is_told_and_plain_http_through_the_network_is_warned_of() {
        assert_eq!(of(&read("")), []);
        for (line, is_warning, part) in [
            (
                "otlp",
                false,
                "http://127.0.0.1:4318/v1/traces (otlp) for 100%",
            ),
            ("zipkin", false, "as w3c, b3multi"),
            (
                "otlp --trace-sample 0.1 --trace-propagation b3,w3c --trace-propagation b3",
                false,
                "for 10% of the traces about which",
            ),
            (
                "otlp --trace-endpoint http://jaeger:4318",
                true,
                "plain HTTP",
            ),
            ("otlp --trace-endpoint http://localhost:4317", true, "4318"),
        ] {
            let remarks = told(line);
            let found = remarks.iter().any(|remark| match remark {
                Remark::Fact(words) => !is_warning && words.contains(part),
                Remark::Warning(words) => is_warning && words.contains(part),
            });
            assert!(found, "{line}: {part} is not in {remarks:#?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_told_before_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headers");
        std::fs::write(&path, "Authorization: Bearer s3cret\n").unwrap();
        let line = format!(
            "--trace-exporter otlp --trace-endpoint https://a.example --trace-ca /nowhere/ca.crt --trace-header-file {}",
            path.display()
        );
        let mut text = String::new();
        assert!(!describe(&mut text, &read(&line)));
        assert!(
            text.contains("error: reading --trace-ca \"/nowhere/ca.crt\": No such file"),
            "{text}"
        );
        assert!(text.contains("fields     authorization\n"), "{text}");
        assert!(!text.contains("s3cret"));
    }
}
