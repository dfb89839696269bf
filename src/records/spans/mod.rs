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
use crate::upstream::Protocol;
use attributes::{call, fixed, known};
use outcome::UNIMPLEMENTED;

/// Lets the spans of an exchange that is over go, where its trace is kept.
pub(super) fn finished(exchange: &Exchange, asked: &Asked, reason: Option<Reason>, took: Duration) {
    let site = &exchange.conn.site;
    let (Some(tracer), Some(trace)) = (&site.tracer, exchange.trace.as_deref()) else {
        return;
    };
    if !trace.is_sampled() {
        return;
    }
    let told = Told {
        exchange,
        asked,
        trace,
        call: call(trace, asked, &site.policy),
        reason,
        policy: &site.policy,
        knows_peer: tracer.knows_peers,
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
    /// As what gRPC knows it, where it is a call.
    call: Option<&'a str>,
    reason: Option<Reason>,
    policy: &'a Policy,
    /// Whether the address of the connection is that of its other end.
    knows_peer: bool,
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
        let mut told = self.upstream(attempt.address.as_deref());
        if number > 0 {
            told.push(("http.request.resend_count", Value::Number(number as i64)));
        }
        let (status, took) = match attempt.failed {
            Some((why, took)) => {
                told.push(("error.type", fixed(why)));
                (Status::Error(why.into()), took)
            }
            None => {
                let took = ended.saturating_duration_since(attempt.began);
                (self.outcome(Kind::Client, &mut told), took)
            }
        };
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
            is_random: self.trace.is_random,
            state: self.state(),
            kind,
            name: self.name(),
            started: self.exchange.time + started.saturating_duration_since(self.exchange.started),
            took,
            status,
            attributes,
        }
    }

    /// No route is known here, and a path is no name: there may be any number of them. A call of gRPC has one, where the
    /// application speaks gRPC and knows it.
    fn name(&self) -> Cow<'static, str> {
        let target = self.exchange.target.as_ref();
        let speaks = target.is_some_and(|target| target.url.protocol() == Protocol::H2c);
        if let Some(call) = self.call
            && speaks
            && self.trace.grpc_status != Some(UNIMPLEMENTED)
        {
            return call.to_owned().into();
        }
        known(self.asked.method.as_ref()).unwrap_or("HTTP").into()
    }

    /// `tracestate` is what a client says, too.
    fn state(&self) -> Option<Box<str>> {
        let state = self.trace.state.clone()?;
        let is_shown = self.policy.shown(state.as_bytes()) == state.as_bytes();
        is_shown.then_some(state)
    }
}
