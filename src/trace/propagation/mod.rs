//! How a trace goes on from one process to the next: read from a request's fields, and written into them.

mod b3;
mod w3c;

use http::HeaderMap;

use super::span::{SpanId, TraceId};
use crate::config::Propagation;

/// What came with a request.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Whose child the request is.
    pub(super) parent: Option<Parent>,
    /// What was decided about the trace.
    pub(super) decision: Option<Decision>,
    /// The formats it was told in, well or badly.
    pub(super) formats: Formats,
}

/// The span of another process that has sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    /// Told in W3C's format.
    pub(super) is_w3c: bool,
    /// The trace's id is random all over (W3C Trace Context level 2, section 3.2.2.5.2).
    pub(super) is_random: bool,
    /// `tracestate`.
    pub(super) state: Option<Box<str>>,
}

/// Whether a trace is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Drop,
    Keep,
    /// B3: keep it, whatever the collector would say of it.
    Debug,
}

/// What the application is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) trace: TraceId,
    /// The span that the application's is a child of.
    pub(super) span: SpanId,
    /// That span's own parent.
    pub(super) parent: SpanId,
    pub(super) decision: Decision,
    pub(super) is_random: bool,
}

/// A set of formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Formats {
    pub(super) w3c: bool,
    pub(super) b3: bool,
    pub(super) b3_multi: bool,
}

impl Formats {
    pub(super) fn of(formats: &[Propagation]) -> Self {
        Self {
            w3c: formats.contains(&Propagation::W3c),
            b3: formats.contains(&Propagation::B3),
            b3_multi: formats.contains(&Propagation::B3Multi),
        }
    }
}

/// The first format that is understood counts: W3C's, then B3 in one field, then B3 in several.
pub(super) fn read(headers: &HeaderMap) -> Incoming {
    let formats = Formats {
        w3c: headers.contains_key(w3c::TRACEPARENT),
        b3: headers.contains_key(b3::SINGLE),
        b3_multi: b3::is_in_several(headers),
    };
    let mut incoming = Incoming {
        formats,
        ..Incoming::default()
    };
    if formats.w3c
        && let Some((parent, decision)) = w3c::read(headers)
    {
        (incoming.parent, incoming.decision) = (Some(parent), Some(decision));
        return incoming;
    }
    let read = if formats.b3 { b3::read(headers) } else { None };
    let read = read.or_else(|| b3::read_several(headers).filter(|_| formats.b3_multi));
    if let Some((parent, decision)) = read {
        (incoming.parent, incoming.decision) = (parent, decision);
    }
    incoming
}

/// Tells the application in these formats. What came in others goes: it would make two children of one parent.
pub(super) fn write(headers: &mut HeaderMap, formats: Formats, out: &Outgoing, keeps_state: bool) {
    w3c::remove(headers, keeps_state);
    b3::remove(headers);
    if formats.w3c {
        w3c::write(headers, out);
    }
    if formats.b3 {
        b3::write(headers, out);
    }
    if formats.b3_multi {
        b3::write_several(headers, out);
    }
}

#[cfg(test)]
mod tests;
