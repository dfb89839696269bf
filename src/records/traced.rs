//! What an exchange hears and says of the trace that it is a part of.

use http::{HeaderMap, StatusCode};

use super::exchange::Exchange;

impl Exchange {
    /// The application is asked, for the first time or again: tells it of the trace.
    pub(crate) fn asks(&mut self, headers: &mut HeaderMap) {
        if let Some(trace) = &mut self.trace {
            trace.asks(headers);
        }
    }

    /// The application has answered this.
    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        if let Some(trace) = &mut self.trace {
            trace.answered(status, headers);
        }
    }

    /// The response ends with these trailers.
    pub(crate) fn ends_with(&mut self, trailers: &HeaderMap) {
        if let Some(trace) = &mut self.trace {
            trace.hears(trailers);
        }
    }
}
