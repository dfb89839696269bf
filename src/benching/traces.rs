//! What they may touch of the way of a span.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use http::{HeaderValue, StatusCode, Version};

use super::Bench;
use crate::config::Config;
use crate::records::Exchange;
use crate::trace::{Exporter, Lanes, Resource, Span, Tracer};

/// Where spans go.
#[derive(Debug)]
pub(super) struct Traces {
    lanes: Lanes,
    /// Sends nothing; none where there are no traces.
    exporter: Option<Exporter>,
    exchanges: Cell<usize>,
}

impl Traces {
    pub(super) fn new(config: &Config) -> Self {
        let lanes = Lanes::new(1);
        let resource = Resource {
            service: "bench".to_owned(),
            host: Some("bench-7d4b9c6f5-x2x7p".to_owned()),
        };
        let exporter = |traces| Exporter::new(traces, resource, lanes.clone());
        Self {
            exporter: config.traces.as_ref().map(exporter),
            lanes,
            exchanges: Cell::new(0),
        }
    }

    pub(super) fn tracer(&self, config: &Config) -> Option<Rc<Tracer>> {
        let tracer = |traces| Tracer::new(traces, config, self.lanes.lane());
        Some(Rc::new(tracer(config.traces.as_ref()?)))
    }

    /// Like the exporter, now and then; a full lane would cost nothing.
    fn take_some(&self) {
        let exchanges = self.exchanges.get() + 1;
        self.exchanges.set(exchanges % BATCH);
        if exchanges == BATCH {
            drop(self.lanes.take());
        }
    }
}

impl Bench {
    /// What [`Bench::exchange`] does, and what traces make of it: the application is told in a head of its own, has answered, and
    /// what was made of it is dropped in time. `came` is the `traceparent` that came with the request.
    pub fn traced(&self, came: Option<&'static str>) {
        self.ask(came);
        self.traces.take_some();
    }

    fn ask(&self, came: Option<&'static str>) {
        let (method, uri, headers) = &self.request;
        let mut headers = headers.clone();
        if let Some(came) = came {
            headers.insert("traceparent", HeaderValue::from_static(came));
        }
        let mut exchange = Exchange::open(&self.conn, Instant::now());
        exchange.request(method, uri, Version::HTTP_11, &headers);
        exchange.bound_for(&self.target);
        exchange.asks(&mut headers);
        exchange.sent_to(Some(Rc::clone(&self.upstream)));
        exchange.answered(StatusCode::OK, &headers);
        exchange.respond(StatusCode::OK);
        exchange.sent(1024);
        exchange.finish();
    }

    /// As many spans as a request to a collector has.
    #[must_use]
    pub fn batch(&self) -> Spans {
        drop(self.traces.lanes.take());
        for _ in 0..BATCH / 2 {
            self.ask(None);
        }
        Spans(self.traces.lanes.take())
    }

    /// The body of that request; its length.
    pub fn encode(&self, batch: Spans) -> usize {
        let exporter = self.traces.exporter.as_ref();
        exporter.map_or(0, |exporter| exporter.encode(batch.0))
    }
}

/// Spans of a batch.
#[derive(Debug)]
pub struct Spans(Vec<Span>);

/// Spans of a request to a collector.
const BATCH: usize = 512;
