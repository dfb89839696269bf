//! A worker's part in tracing: continues or begins the trace of each request, decides whether it is kept, tells the application,
//! and lets finished spans go.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, StatusCode};

use super::lane::Lane;
use super::propagation::{self, Decision, Formats, Incoming, Outgoing};
use super::span::{Span, SpanId, TraceId};
use crate::config::{Networks, Traces};
use crate::headers::is_grpc;

/// One worker's.
#[derive(Debug)]
pub(crate) struct Tracer {
    sample: f64,
    formats: Formats,
    /// Whose decision is believed.
    trusted: Networks,
    lane: Arc<Lane>,
}

/// One exchange's part of a trace.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) id: TraceId,
    /// The span of whoever has sent the request.
    pub(crate) parent: Option<SpanId>,
    /// The exchange's own span.
    pub(crate) server: SpanId,
    /// `tracestate` of the span that it is a child of.
    pub(crate) state: Option<Box<str>>,
    /// `tracestate` goes on to the application: what it says is about the parent, and there is none in a trace that begins here
    /// (W3C Trace Context, section 3.3).
    keeps_state: bool,
    decision: Decision,
    is_random: bool,
    formats: Formats,
    /// Each time that the application was asked; the last one may go on.
    pub(crate) attempts: Vec<Attempt>,
    /// The application's own status.
    pub(crate) answer: Option<StatusCode>,
    /// Whether it is a call of gRPC.
    pub(crate) is_grpc: bool,
    /// `grpc-status` of the response.
    pub(crate) grpc_status: Option<i64>,
}

/// One time that the application was asked.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) span: SpanId,
    pub(crate) began: Instant,
    /// None for the last one: it goes on until the exchange is over.
    pub(crate) took: Option<Duration>,
}

impl Tracer {
    pub(crate) fn new(traces: &Traces, trusted: &Networks, lane: Arc<Lane>) -> Self {
        Self {
            sample: traces.sample,
            formats: Formats::of(&traces.propagation),
            trusted: trusted.clone(),
            lane,
        }
    }

    /// Continues what came with a request, or begins. `peer` is who has sent it, where that is known.
    pub(crate) fn begin(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Trace {
        let Incoming {
            parent,
            decision,
            formats,
        } = propagation::read(headers);
        let is_believed = peer.is_some_and(|peer| self.trusted.contain(peer));
        let decision = decision
            .filter(|_| is_believed)
            .unwrap_or_else(|| self.decide());
        let id = parent
            .as_ref()
            .map_or_else(TraceId::new, |parent| parent.trace);
        let is_random = parent.as_ref().is_some_and(|parent| parent.is_random);
        let keeps_state = parent.as_ref().is_some_and(|parent| parent.is_w3c);
        Trace {
            id,
            parent: parent.as_ref().map(|parent| parent.span),
            server: SpanId::new(),
            state: parent.and_then(|parent| parent.state),
            keeps_state,
            decision,
            is_random,
            formats: Formats {
                w3c: formats.w3c || self.formats.w3c,
                b3: formats.b3 || self.formats.b3,
                b3_multi: formats.b3_multi || self.formats.b3_multi,
            },
            attempts: Vec::new(),
            answer: None,
            is_grpc: is_grpc(headers),
            grpc_status: None,
        }
    }

    /// By the share: a client's ids must not have a say in it.
    fn decide(&self) -> Decision {
        if self.sample >= 1.0 || fastrand::f64() < self.sample {
            Decision::Keep
        } else {
            Decision::Drop
        }
    }

    pub(crate) fn finished(&self, span: Span) {
        self.lane.put(span);
    }
}

impl Trace {
    /// Whether its spans are kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.decision != Decision::Drop
    }

    /// The application is asked, for the first time or again: tells it whose child its span is.
    pub(crate) fn asks(&mut self, headers: &mut HeaderMap) {
        let span = SpanId::new();
        let out = Outgoing {
            trace: self.id,
            span,
            parent: self.server,
            decision: self.decision,
            is_random: self.is_random,
        };
        propagation::write(headers, self.formats, &out, self.keeps_state);
        if self.is_kept() {
            self.attempts.push(Attempt {
                span,
                began: Instant::now(),
                took: None,
            });
        }
    }

    /// The request went out on a connection that somebody began to get at this time.
    pub(crate) fn sent(&mut self, began: Instant) {
        if let Some(last) = self.attempts.last_mut() {
            last.began = began;
        }
    }

    /// What the application has answered; gRPC may say here, too, how a call went.
    pub(crate) fn answered(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.answer = Some(status);
        self.hears(headers);
    }

    /// Trailers, where gRPC says how a call went.
    pub(crate) fn hears(&mut self, headers: &HeaderMap) {
        if !self.is_grpc {
            return;
        }
        let said = headers.get(GRPC_STATUS).and_then(|code| code.to_str().ok());
        if let Some(code) = said.and_then(|code| code.parse().ok()) {
            self.grpc_status = Some(code);
        }
    }

    /// The attempt came to nothing, and there will be another.
    pub(crate) fn failed(&mut self) {
        if let Some(last) = self.attempts.last_mut() {
            last.took = Some(last.began.elapsed());
        }
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
