//! B3, as Zipkin's libraries speak it (openzipkin/b3-propagation): in one field, or in several.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Decision, Outgoing, Parent};
use crate::trace::ids::text;
use crate::trace::span::{SpanId, TraceId};

type Read = (Option<Parent>, Option<Decision>);

/// `b3: {trace}-{span}-{decision}-{parent}`, of which the last two may be missing; or the decision alone.
pub(super) fn read(headers: &HeaderMap) -> Option<Read> {
    let value = one(headers, &SINGLE)?.trim_ascii();
    if let Some(decision) = decision(value) {
        return Some((None, Some(decision)));
    }
    let mut parts = value.split(|byte| *byte == b'-');
    let parent = parent(parts.next()?, parts.next()?)?;
    let decision = match parts.next() {
        None => None,
        Some(word) => Some(decision(word)?),
    };
    if let Some(grandparent) = parts.next() {
        SpanId::read(grandparent)?;
    }
    parts.next().is_none().then_some((Some(parent), decision))
}

/// `X-B3-TraceId` and its like.
pub(super) fn read_several(headers: &HeaderMap) -> Option<Read> {
    let decision = if one(headers, &FLAGS) == Some(b"1") {
        Some(Decision::Debug)
    } else {
        match one(headers, &SAMPLED) {
            None => None,
            // Words were written by early libraries.
            Some(b"true") => Some(Decision::Keep),
            Some(b"false") => Some(Decision::Drop),
            Some(word) => decision(word).filter(|decision| *decision != Decision::Debug),
        }
    };
    let ids = one(headers, &TRACE_ID).zip(one(headers, &SPAN_ID));
    let parent = ids.and_then(|(trace, span)| parent(trace, span));
    (parent.is_some() || decision.is_some()).then_some((parent, decision))
}

pub(super) fn is_in_several(headers: &HeaderMap) -> bool {
    SEVERAL.iter().any(|name| headers.contains_key(name))
}

fn parent(trace: &[u8], span: &[u8]) -> Option<Parent> {
    Some(Parent {
        trace: TraceId::read(trace)?,
        span: SpanId::read(span)?,
        is_w3c: false,
        is_random: false,
        state: None,
    })
}

fn decision(word: &[u8]) -> Option<Decision> {
    match word {
        b"0" => Some(Decision::Drop),
        b"1" => Some(Decision::Keep),
        b"d" => Some(Decision::Debug),
        _ => None,
    }
}

/// Of two nobody knows which is meant.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut fields = headers.get_all(name).iter();
    let field = fields.next()?.as_bytes();
    fields.next().is_none().then_some(field)
}

pub(super) fn remove(headers: &mut HeaderMap) {
    headers.remove(SINGLE);
    for name in SEVERAL {
        headers.remove(name);
    }
}

pub(super) fn write(headers: &mut HeaderMap, out: &Outgoing) {
    let mut buffer = [0; 32];
    let (trace, span) = (out.trace.hex_as_it_came(&mut buffer), out.span.hex());
    let (decision, parent) = (word(out.decision), out.parent.hex());
    let value = format!("{trace}-{}-{decision}-{}", text(&span), text(&parent));
    set(headers, SINGLE, value.as_bytes());
}

pub(super) fn write_several(headers: &mut HeaderMap, out: &Outgoing) {
    let mut buffer = [0; 32];
    let trace = out.trace.hex_as_it_came(&mut buffer);
    set(headers, TRACE_ID, trace.as_bytes());
    set(headers, SPAN_ID, &out.span.hex());
    set(headers, PARENT_SPAN_ID, &out.parent.hex());
    match out.decision {
        // It says that the trace is kept, and more.
        Decision::Debug => headers.insert(FLAGS, HeaderValue::from_static("1")),
        kept => headers.insert(SAMPLED, HeaderValue::from_static(word(kept))),
    };
}

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Drop => "0",
        Decision::Keep => "1",
        Decision::Debug => "d",
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    // Of hex digits and dashes it is valid.
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.insert(name, value);
    }
}

pub(super) const SINGLE: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");
const SEVERAL: [HeaderName; 5] = [TRACE_ID, SPAN_ID, PARENT_SPAN_ID, SAMPLED, FLAGS];
