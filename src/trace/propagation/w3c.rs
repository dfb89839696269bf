//! W3C Trace Context: `traceparent` and `tracestate`.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Decision, Outgoing, Parent};
use crate::trace::ids::unhex;
use crate::trace::span::{SpanId, TraceId};

/// Section 3.2. Of a later version than 00 the fields of 00 count, and there may be more behind them (section 4).
pub(super) fn extract(headers: &HeaderMap) -> Option<(Parent, Decision)> {
    let mut fields = headers.get_all(TRACEPARENT).iter();
    let value = fields.next()?.as_bytes().trim_ascii();
    // Of two nobody knows which is meant.
    if fields.next().is_some() {
        return None;
    }
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let mut version = [0];
    unhex(&known[..2], &mut version)?;
    let is_whole = match version[0] {
        0 => rest.is_empty(),
        0xff => false,
        _ => matches!(rest, [] | [b'-', ..]),
    };
    if !is_whole || [2, 35, 52].iter().any(|at| known[*at] != b'-') {
        return None;
    }
    let trace = TraceId::read(&known[3..35])?;
    let span = SpanId::read(&known[36..52])?;
    let mut flags = [0];
    unhex(&known[53..], &mut flags)?;
    let decision = if flags[0] & SAMPLED == 0 {
        Decision::Drop
    } else {
        Decision::Sample
    };
    let parent = Parent {
        trace,
        span,
        is_w3c: true,
        is_random: flags[0] & RANDOM != 0,
    };
    Some((parent, decision))
}

/// Section 3.3: several fields are one list. What is no text, or longer than anybody has to pass on, is not put into spans.
pub(in crate::trace) fn state(headers: &HeaderMap) -> Option<Box<str>> {
    let mut values = headers.get_all(TRACESTATE).iter();
    let mut state = values.next()?.to_str().ok()?.to_owned();
    for value in values {
        state.push(',');
        state.push_str(value.to_str().ok()?);
    }
    (1..=LONGEST_STATE)
        .contains(&state.len())
        .then(|| state.into())
}

/// What it says is about a parent that there is none of.
pub(super) fn remove_state(headers: &mut HeaderMap) {
    headers.remove(TRACESTATE);
}

pub(super) fn inject(headers: &mut HeaderMap, out: &Outgoing) {
    let mut flags = match out.decision {
        Decision::Drop => 0,
        Decision::Sample | Decision::Debug => SAMPLED,
    };
    if out.is_random {
        flags |= RANDOM;
    }
    let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
    value[3..35].copy_from_slice(&out.trace.hex());
    value[36..52].copy_from_slice(&out.span.hex());
    value[54] = b'0' + flags;
    // Of hex digits and dashes it is valid.
    if let Ok(value) = HeaderValue::from_bytes(&value) {
        headers.insert(TRACEPARENT, value);
    }
}

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Of version 00.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;
/// Section 3.3.1.5: so much is passed on by everybody.
const LONGEST_STATE: usize = 512;
