//! The spans of an exchange: one for itself, and one for each time that the application was asked. Their attributes are those of
//! OpenTelemetry's semantic conventions for HTTP and RPC, where these have a name for it.

mod attributes;
mod outcome;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::asked::Asked;
use super::exchange::Exchange;
use super::policy::Policy;
use crate::failure::Reason;
use crate::trace::{Attempt, Attribute, Kind, Span, SpanId, Status, Trace, Value};
use attributes::{fixed, known};

/// Lets the spans of an exchange that is over go, where its trace is kept.
pub(super) fn finished(exchange: &Exchange, asked: &Asked, reason: Option<Reason>, took: Duration) {
    let site = &exchange.conn.site;
    let (Some(tracer), Some(trace)) = (&site.tracer, exchange.trace.as_deref()) else {
        return;
    };
    if !trace.is_kept() {
        return;
    }
    let told = Told {
        exchange,
        asked,
        trace,
        reason,
        policy: &site.policy,
    };
    for (number, attempt) in trace.attempts.iter().enumerate() {
        tracer.finished(told.attempt(number, attempt, exchange.started + took));
    }
    tracer.finished(told.server(took));
}

/// An exchange that is over.
struct Told<'a> {
    exchange: &'a Exchange,
    asked: &'a Asked,
    trace: &'a Trace,
    reason: Option<Reason>,
    policy: &'a Policy,
}

impl Told<'_> {
    fn server(&self, took: Duration) -> Span {
        let mut told = self.downstream();
        let status = self.outcome(Kind::Server, &mut told);
        let started = self.exchange.started;
        let id = self.trace.server;
        Span {
            parent: self.trace.parent,
            ..self.span(Kind::Server, id, started, took, status, told)
        }
    }

    fn attempt(&self, number: usize, attempt: &Attempt, ended: Instant) -> Span {
        let mut told = self.upstream();
        if number > 0 {
            told.push(("http.request.resend_count", Value::Number(number as i64)));
        }
        let status = match attempt.took {
            Some(_) => {
                told.push(("error.type", fixed(STALE)));
                Status::Error(STALE.into())
            }
            None => self.outcome(Kind::Client, &mut told),
        };
        let took = attempt.took;
        let took = took.unwrap_or_else(|| ended.saturating_duration_since(attempt.began));
        self.span(
            Kind::Client,
            attempt.span,
            attempt.began,
            took,
            status,
            told,
        )
    }

    fn span(
        &self,
        kind: Kind,
        id: SpanId,
        started: Instant,
        took: Duration,
        status: Status,
        attributes: Vec<Attribute>,
    ) -> Span {
        Span {
            trace: self.trace.id,
            id,
            parent: Some(self.trace.server),
            state: self.trace.state.clone(),
            kind,
            name: self.name(),
            started: self.exchange.time + started.saturating_duration_since(self.exchange.started),
            took,
            status,
            attributes,
        }
    }

    /// No route is known here, and a path is no name: there may be any number of them. A call of gRPC has one.
    fn name(&self) -> Cow<'static, str> {
        if let Some((service, method)) = self.call() {
            return format!("{service}/{method}").into();
        }
        known(self.asked.method.as_ref()).unwrap_or("HTTP").into()
    }
}

/// A kept connection to the application had gone stale.
const STALE: &str = "upstream_stale";
