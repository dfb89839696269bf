//! A finished span, in no exporter's format.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// Of a trace; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId {
    /// Big endian: as it is written.
    pub(crate) bytes: [u8; 16],
    /// It came as 64 bits, and goes on as 64 bits wherever that can be written (B3, Zipkin): who joins spans by their text would
    /// see two traces.
    pub(crate) is_short: bool,
}

/// Of a span; never all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanId(pub(crate) [u8; 8]);

/// Whose side of a call a span tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The sidecar was asked.
    Server,
    /// The sidecar asked the application.
    Client,
}

/// How it went (OpenTelemetry's span status). What went well stays unset: nobody but the application knows better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Unset,
    /// With what there is to say.
    Error(Cow<'static, str>),
}

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace: TraceId,
    pub(crate) id: SpanId,
    /// Of another process for a server's span, or none where the trace begins here; of the server's span for a client's.
    pub(crate) parent: Option<SpanId>,
    /// The trace's id is random all over (W3C Trace Context level 2), as whoever began it says.
    pub(crate) is_random: bool,
    /// `tracestate` as it came (W3C Trace Context, section 3.3); the same for all spans of an exchange.
    pub(crate) state: Option<Box<str>>,
    pub(crate) kind: Kind,
    pub(crate) name: Cow<'static, str>,
    pub(crate) started: SystemTime,
    pub(crate) took: Duration,
    pub(crate) status: Status,
    pub(crate) attributes: Vec<Attribute>,
}

/// A name of the semantic conventions, and its value.
pub(crate) type Attribute = (&'static str, Value);

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Bounded by whoever made it.
    Text(Cow<'static, str>),
    Number(i64),
    Flag(bool),
}

impl Span {
    /// Bytes that it takes, about.
    pub(crate) fn size(&self) -> usize {
        let texts = self.attributes.iter().map(|(_, value)| match value {
            Value::Text(Cow::Owned(text)) => text.capacity(),
            Value::Text(Cow::Borrowed(_)) | Value::Number(_) | Value::Flag(_) => 0,
        });
        let state = self.state.as_ref().map_or(0, |state| state.len());
        size_of::<Self>()
            + self.attributes.capacity() * size_of::<Attribute>()
            + texts.sum::<usize>()
            + state
            + self.name.len()
    }
}
