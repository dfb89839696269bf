//! Spans as Zipkin's JSON, version 2 (zipkin.io/zipkin-api, `POST /api/v2/spans`).

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::Resource;
use crate::trace::span::{Kind, Span, Status, TraceId, Value};

/// Of a request.
pub(super) const CONTENT_TYPE: &str = "application/json";

/// The body of a request.
pub(super) fn encode(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let spans: Vec<_> = spans.iter().map(|span| Json::of(resource, span)).collect();
    // Numbers and texts alone: there is nothing that JSON could not say.
    serde_json::to_vec(&spans).unwrap_or_default()
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    trace_id: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    kind: &'static str,
    name: &'a str,
    /// Microseconds, as are durations. Zero would be "not known".
    timestamp: u64,
    duration: u64,
    local_endpoint: Service<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_endpoint: Option<Peer>,
    tags: Tags<'a>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Service<'a> {
    service_name: &'a str,
}

#[derive(serde::Serialize)]
struct Peer {
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<Ipv6Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

impl<'a> Json<'a> {
    fn of(resource: &'a Resource, span: &'a Span) -> Self {
        let since = span.started.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            trace_id: trace_id(&span.trace),
            id: hex(&span.id.0),
            parent_id: span.parent.map(|id| hex(&id.0)),
            kind: match span.kind {
                Kind::Server => "SERVER",
                Kind::Client => "CLIENT",
            },
            name: &span.name,
            timestamp: micros(since.unwrap_or_default()),
            duration: micros(span.took),
            local_endpoint: Service {
                service_name: &resource.service,
            },
            remote_endpoint: peer(span),
            tags: Tags(span),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros())
        .unwrap_or(u64::MAX)
        .max(1)
}

/// What came as 64 bits stays so: spans are joined by this text.
fn trace_id(id: &TraceId) -> String {
    if id.is_short {
        hex(&id.bytes[8..])
    } else {
        hex(&id.bytes)
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16);
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.flatten().collect()
}

/// The other side of the connection, where it has an address.
fn peer(span: &Span) -> Option<Peer> {
    let attribute = |wanted| span.attributes.iter().find(|(name, _)| *name == wanted);
    let Some((_, Value::Text(text))) = attribute("network.peer.address") else {
        return None;
    };
    let (ipv4, ipv6) = match text.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(ip) => (Some(ip), None),
        IpAddr::V6(ip) => (None, Some(ip)),
    };
    let port = match attribute("network.peer.port") {
        Some((_, Value::Number(port))) => u16::try_from(*port).ok(),
        _ => None,
    };
    Some(Peer { ipv4, ipv6, port })
}

/// Attributes as text, and `error` where there is one.
struct Tags<'a>(&'a Span);

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = self.0;
        let mut tags = serializer.serialize_map(None)?;
        for (name, value) in &span.attributes {
            let text: Cow<'_, str> = match value {
                Value::Text(text) => Cow::Borrowed(text),
                Value::Number(number) => number.to_string().into(),
                Value::Flag(flag) => flag.to_string().into(),
            };
            tags.serialize_entry(name, &text)?;
        }
        if let Status::Error(words) = &span.status {
            tags.serialize_entry("error", words)?;
        }
        tags.end()
    }
}
