//! How an exchange went, as each side of it sees that.

use std::borrow::Cow;

use http::StatusCode;

use super::Told;
use super::attributes::fixed;
use crate::failure::Side;
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
        let call = self.call().and(self.trace.grpc_status);
        told.extend(call.map(|code| ("rpc.grpc.status_code", Value::Number(code))));
        let error = match self.reason {
            Some(reason) if reason.side() != Side::Client => Some(reason.word().into()),
            _ => status
                .filter(|status| is_error(kind, *status))
                .map(|status| status.as_u16().to_string().into())
                .or_else(|| {
                    let code = call.filter(|code| is_failed_call(kind, *code))?;
                    Some(Cow::Owned(code.to_string()))
                }),
        };
        let Some(error) = error else {
            return Status::Unset;
        };
        told.push(("error.type", Value::Text(Cow::clone(&error))));
        // A status speaks for itself.
        Status::Error(match self.reason {
            Some(_) => error,
            None => Cow::Borrowed(""),
        })
    }
}

/// Whoever asks for what there is not is not served badly; whoever is told so has failed (conventions for HTTP spans, "Status").
fn is_error(kind: Kind, status: StatusCode) -> bool {
    status.is_server_error() || (kind == Kind::Client && status.is_client_error())
}

/// The same for gRPC (conventions for gRPC, "Status"): unknown, deadline exceeded, unimplemented, internal, unavailable and data
/// loss are the server's failures.
fn is_failed_call(kind: Kind, code: i64) -> bool {
    match kind {
        Kind::Server => matches!(code, 2 | 4 | 12 | 13 | 14 | 15),
        Kind::Client => code != 0,
    }
}
