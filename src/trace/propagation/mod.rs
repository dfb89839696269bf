//! How a trace goes on from one process to the next: read from a request's fields, and written into them.

mod b3;
mod w3c;

use http::HeaderMap;

use super::span::{SpanId, TraceId};
use crate::config::Propagation;

pub(super) use w3c::state;

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
}

/// Whether a trace is sampled: kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Drop,
    Sample,
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

    /// These and others.
    pub(super) fn and(self, others: Self) -> Self {
        Self {
            w3c: self.w3c || others.w3c,
            b3: self.b3 || others.b3,
            b3_multi: self.b3_multi || others.b3_multi,
        }
    }
}

/// The first format that is understood counts: W3C's, then B3 in one field, then B3 in several.
pub(super) fn extract(headers: &HeaderMap) -> Incoming {
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
        && let Some((parent, decision)) = w3c::extract(headers)
    {
        (incoming.parent, incoming.decision) = (Some(parent), Some(decision));
        return incoming;
    }
    let read = if formats.b3 {
        b3::extract(headers)
    } else {
        None
    };
    let read = read.or_else(|| b3::extract_several(headers).filter(|_| formats.b3_multi));
    if let Some((parent, decision)) = read {
        (incoming.parent, incoming.decision) = (parent, decision);
    }
    incoming
}

/// Tells the application in these formats. What came in others goes: it would make two children of one parent.
///
/// `came` are the formats that the request came with, and `goes_on` says whether its `tracestate` does.
pub(super) fn inject(
    headers: &mut HeaderMap,
    (came, formats): (Formats, Formats),
    out: &Outgoing,
    goes_on: bool,
) {
    if !goes_on {
        w3c::remove_state(headers);
    }
    if came.b3 || came.b3_multi {
        b3::remove(headers);
    }
    if formats.w3c {
        w3c::inject(headers, out);
    }
    if formats.b3 {
        b3::inject(headers, out);
    }
    if formats.b3_multi {
        b3::inject_several(headers, out);
    }
}

#[cfg(test)]
mod tests;
