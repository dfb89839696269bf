//! One thread's counters.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};

use super::gauges::Conns;
use super::histogram::{Exemplars, Histogram};
use crate::conn::TlsFacts;
use crate::failure::{Reason, Side};

/// One thread's counters: written by it alone, read by a scrape.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    totals: Mutex<Totals>,
    /// Connections of this worker by state.
    pub conns: Conns,
}

/// Sums that only grow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// By method (its place in [`METHODS`]), status code and reason: numbers, which are compared at once.
    pub requests: BTreeMap<(usize, u16, Option<Reason>), u64>,
    /// From the request's first byte to the response's last.
    pub duration: Histogram,
    /// Traces to look at, for `duration`.
    pub exemplars: Exemplars,
    /// From the request's departure to the application to the head of its response.
    pub upstream: Histogram,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Response body bytes.
    pub bytes_out: u64,
    /// By result, reason, version and whether a ticket was used.
    pub handshakes: BTreeMap<(&'static str, &'static str, &'static str, bool), u64>,
    /// From accept to the end of a successful handshake.
    pub handshake_duration: Histogram,
    /// Requests sent to the application once more because a kept connection had gone stale: those that went well then.
    pub retries_ok: u64,
    /// And those that did not.
    pub retries_failed: u64,
    /// Connections closed at accept because of the limit.
    pub refused: u64,
    /// Connections closed at accept because of the limit of their client.
    pub crowded: u64,
    /// Connections closed because their client is not of `--allow-client`.
    pub not_allowed: u64,
    /// Fields removed that were spelt so that they look like none of ours.
    pub disguised: u64,
}

/// What one exchange adds.
#[derive(Debug)]
pub(crate) struct ExchangeFacts<'a> {
    /// As sent by the client, where it could be read.
    pub method: Option<&'a Method>,
    /// As sent to the client, where one was.
    pub status: Option<StatusCode>,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// The whole of it.
    pub duration: Duration,
    /// The application's part.
    pub upstream: Option<Duration>,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Response body bytes.
    pub bytes_out: u64,
    /// How often it was sent once more.
    pub retries: u64,
    /// The trace that it belongs to, where that is kept: 32 hex digits.
    pub trace_id: Option<&'a str>,
}

/// What one handshake adds.
#[derive(Debug)]
pub(crate) struct HandshakeFacts<'a> {
    /// Why it failed.
    pub reason: Option<Reason>,
    /// What was agreed on, when it succeeded.
    pub tls: Option<&'a TlsFacts>,
    /// From accept to its end.
    pub took: Duration,
}

impl Meter {
    /// Counts an exchange.
    pub(crate) fn exchange(&self, facts: &ExchangeFacts<'_>) {
        let key = (
            facts.method.map_or(OTHER, method),
            facts.status.map_or(0, |status| status.as_u16()),
            facts.reason,
        );
        let mut totals = self.lock();
        *totals.requests.entry(key).or_default() += 1;
        totals.duration.observe(facts.duration);
        if let Some(trace_id) = facts.trace_id {
            totals.exemplars.note(facts.duration, trace_id);
        }
        if facts.retries > 0 {
            let is_failed = facts.reason.is_some_and(|r| r.side() == Side::Upstream);
            let retries = if is_failed {
                &mut totals.retries_failed
            } else {
                &mut totals.retries_ok
            };
            *retries += facts.retries;
        }
        if let Some(upstream) = facts.upstream {
            totals.upstream.observe(upstream);
        }
        totals.bytes_in += facts.bytes_in;
        totals.bytes_out += facts.bytes_out;
    }

    /// Counts a handshake.
    pub(crate) fn handshake(&self, facts: &HandshakeFacts<'_>) {
        let result = if facts.reason.is_some() {
            "failed"
        } else {
            "ok"
        };
        let version = facts.tls.map_or("", |tls| tls.version);
        let resumed = facts.tls.is_some_and(|tls| tls.resumed);
        let mut totals = self.lock();
        let key = (
            result,
            facts.reason.map_or("", Reason::word),
            version,
            resumed,
        );
        *totals.handshakes.entry(key).or_default() += 1;
        if facts.reason.is_none() {
            totals.handshake_duration.observe(facts.took);
        }
    }

    /// Counts a connection closed at accept.
    pub(crate) fn refused(&self) {
        self.lock().refused += 1;
    }

    /// Counts a connection closed because its client has too many.
    pub(crate) fn crowded(&self) {
        self.lock().crowded += 1;
    }

    /// Counts a connection of a client that may not come.
    pub(crate) fn not_allowed(&self) {
        self.lock().not_allowed += 1;
    }

    /// Counts fields that were removed in spite of how they were spelt.
    pub(crate) fn disguised(&self, fields: u64) {
        self.lock().disguised += fields;
    }

    /// Adds this thread's sums to `sum`.
    pub(crate) fn add_to(&self, sum: &mut Totals) {
        let totals = self.lock();
        for (key, count) in &totals.requests {
            *sum.requests.entry(*key).or_default() += count;
        }
        for (key, count) in &totals.handshakes {
            *sum.handshakes.entry(*key).or_default() += count;
        }
        sum.duration.add(&totals.duration);
        sum.upstream.add(&totals.upstream);
        sum.handshake_duration.add(&totals.handshake_duration);
        sum.bytes_in += totals.bytes_in;
        sum.bytes_out += totals.bytes_out;
        sum.exemplars.add(&totals.exemplars);
        sum.retries_ok += totals.retries_ok;
        sum.retries_failed += totals.retries_failed;
        sum.refused += totals.refused;
        sum.crowded += totals.crowded;
        sum.not_allowed += totals.not_allowed;
        sum.disguised += totals.disguised;
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        // Uncontended but for a scrape; numbers stay true through a panic.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a method in [`METHODS`].
fn method(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::POST => 1,
        Method::HEAD => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::PATCH => 5,
        Method::OPTIONS => 6,
        Method::CONNECT => 7,
        Method::TRACE => 8,
        _ => OTHER,
    }
}

/// The nine standard methods, and all others.
pub(super) const METHODS: [&str; 10] = [
    "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "other",
];
const OTHER: usize = METHODS.len() - 1;
