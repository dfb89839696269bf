//! How an exchange went, as each side of it sees that.

use std::borrow::Cow;

use http::StatusCode;

use super::Told;
use super::attributes::fixed;
use crate::failure::{Reason, Side};
use crate::trace::{Attribute, Kind, Status, Value};

impl Told<'_> {
    /// How it went, as one side sees it.
    pub(super) fn outcome(&self, kind: Kind, told: &mut Vec<Attribute>) -> Status {
        let status = match kind {
            Kind::Server => self.exchange.status,
            Kind::Client => self.trace.answer,
        };
        let code = status.map(|status| status.as_u16());
        told.extend(code.map(|code| ("http.response.status_code", Value::Number(code.into()))));
        if let Some(reason) = self.reason {
            told.push(("portcullis.reason", fixed(reason.word())));
        }
        let call = self.call.and(self.trace.grpc_status);
        told.extend(call.map(|code| ("rpc.response.status_code", Value::Text(word(code)))));
        // A client that leaves is nobody's failure.
        let reason = self.reason.filter(|reason| reason.side() != Side::Client);
        let said = || {
            let status = status.filter(|status| is_error(kind, *status));
            let status = status.map(|status| status.as_u16().to_string().into());
            status.or_else(|| call.filter(|code| is_failed_call(kind, *code)).map(word))
        };
        let Some(kind_of_error) = reason.map(Reason::word).map(Cow::Borrowed).or_else(said) else {
            return Status::Unset;
        };
        told.push(("error.type", Value::Text(kind_of_error)));
        // A status speaks for itself.
        Status::Error(reason.map_or("", Reason::word).into())
    }
}

/// Whoever asks for what there is not is not served badly; whoever is told so has failed (conventions for HTTP spans, "Status").
fn is_error(kind: Kind, status: StatusCode) -> bool {
    status.is_server_error() || (kind == Kind::Client && status.is_client_error())
}

/// The same for gRPC (conventions for gRPC, `rpc.response.status_code`): unknown, deadline exceeded, unimplemented, internal,
/// unavailable and data loss are the server's failures.
fn is_failed_call(kind: Kind, code: u32) -> bool {
    match kind {
        Kind::Server => matches!(code, 2 | 4 | UNIMPLEMENTED | 13 | 14 | 15),
        Kind::Client => code != 0,
    }
}

/// The name of a status of gRPC (grpc/grpc, doc/statuscodes.md).
fn word(code: u32) -> Cow<'static, str> {
    const WORDS: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    match WORDS.get(code as usize) {
        Some(word) => Cow::Borrowed(word),
        None => code.to_string().into(),
    }
}

pub(super) const UNIMPLEMENTED: u32 = 12;
