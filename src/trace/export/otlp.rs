//! Spans as an `ExportTraceServiceRequest` (OTLP/HTTP with protobuf), and what a collector says to it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message;

use super::Resource;
use super::proto::{self, KeyValue};
use crate::trace::span::{Attribute, Kind, Span, Status, Value};

/// Of a request.
pub(super) const CONTENT_TYPE: &str = "application/x-protobuf";

/// The body of a request.
pub(super) fn encode(resource: &Resource, spans: Vec<Span>) -> Vec<u8> {
    let attributes = [
        ("service.name", Some(&resource.service)),
        ("host.name", resource.host.as_ref()),
    ];
    let attributes = attributes
        .into_iter()
        .filter_map(|(name, text)| Some(pair(name, proto::Value::Text(text?.clone()))));
    let request = proto::ExportTraceServiceRequest {
        resource_spans: vec![proto::ResourceSpans {
            resource: Some(proto::Resource {
                attributes: attributes.collect(),
            }),
            scope_spans: vec![proto::ScopeSpans {
                scope: Some(proto::InstrumentationScope {
                    name: env!("CARGO_PKG_NAME").to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                }),
                spans: spans.into_iter().map(message).collect(),
            }],
        }],
    };
    request.encode_to_vec()
}

/// Spans that a collector did not take of a batch that it took, and what it says of them. An error where it is no answer of a
/// collector.
pub(super) fn rejected(body: &[u8]) -> Result<Option<(u64, String)>, ()> {
    let answer = proto::ExportTraceServiceResponse::decode(body).map_err(|_| ())?;
    Ok(answer.partial_success.and_then(|partial| {
        let count = u64::try_from(partial.rejected_spans).unwrap_or(0);
        // With no count it is a warning, which changes nothing.
        (count > 0).then_some((count, partial.error_message))
    }))
}

/// What a collector says of a batch that it did not take.
pub(super) fn complaint(body: &[u8]) -> Option<String> {
    let status = proto::RpcStatus::decode(body).ok()?;
    (!status.message.is_empty()).then_some(status.message)
}

fn message(span: Span) -> proto::Span {
    let start = nanos(span.started);
    let took = u64::try_from(span.took.as_nanos()).unwrap_or(u64::MAX);
    let flags = flags(&span);
    let status = match span.status {
        Status::Unset => None,
        Status::Error(words) => Some(proto::Status {
            message: words.into_owned(),
            code: proto::StatusCode::Error.into(),
        }),
    };
    let kind = match span.kind {
        Kind::Server => proto::SpanKind::Server,
        Kind::Client => proto::SpanKind::Client,
    };
    proto::Span {
        trace_id: span.trace.bytes.to_vec(),
        span_id: span.id.0.to_vec(),
        trace_state: span.state.map(String::from).unwrap_or_default(),
        parent_span_id: span.parent.map_or_else(Vec::new, |id| id.0.to_vec()),
        name: span.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(took),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        status,
        flags,
    }
}

/// What is not sampled makes no span. The parent of a client's span is our own.
fn flags(span: &Span) -> u32 {
    let is_remote = span.kind == Kind::Server && span.parent.is_some();
    let remote = if is_remote { proto::FLAG_IS_REMOTE } else { 0 };
    let random = if span.is_random {
        proto::FLAG_RANDOM
    } else {
        0
    };
    proto::FLAG_SAMPLED | random | proto::FLAG_HAS_IS_REMOTE | remote
}

fn attribute((name, value): Attribute) -> KeyValue {
    let value = match value {
        Value::Text(text) => proto::Value::Text(text.into_owned()),
        Value::Number(number) => proto::Value::Number(number),
        Value::Flag(flag) => proto::Value::Flag(flag),
    };
    pair(name, value)
}

fn pair(key: &'static str, value: proto::Value) -> KeyValue {
    KeyValue {
        key: Bytes::from_static(key.as_bytes()),
        value: Some(proto::AnyValue { value: Some(value) }),
    }
}

/// Since 1970; a clock that is before that, or after 2554, tells nothing.
fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.as_ref().map_or(0, Duration::as_nanos);
    u64::try_from(since).unwrap_or(0)
}
