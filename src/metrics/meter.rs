//! One thread's counters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};

use crate::conn::TlsFacts;
use crate::failure::Reason;

/// One thread's counters: written by it alone, read by a scrape.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    totals: Mutex<Totals>,
    /// Connections of this worker by state.
    pub conns: Conns,
}

/// Gauges of downstream and upstream connections.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    /// In the TLS handshake.
    pub handshaking: AtomicI64,
    /// Handshake done, between accept and close.
    pub open: AtomicI64,
    /// Of these, HTTP/1 between two requests.
    pub idle: AtomicI64,
    /// To the application, not in use.
    pub upstream_idle: AtomicI64,
}

/// Sums that only grow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// By method, status code and reason.
    pub requests: BTreeMap<(&'static str, u16, &'static str), u64>,
    /// From the request's first byte to the response's last.
    pub duration: Histogram,
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
    /// Requests sent to the application a second time because a kept connection had gone stale.
    pub upstream_retries: u64,
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
            facts.method.map_or("other", method),
            facts.status.map_or(0, |status| status.as_u16()),
            facts.reason.map_or("", Reason::word),
        );
        let mut totals = self.lock();
        *totals.requests.entry(key).or_default() += 1;
        totals.duration.observe(facts.duration);
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

    /// Counts a request replayed on a fresh connection.
    pub(crate) fn retried(&self) {
        self.lock().upstream_retries += 1;
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
        sum.upstream_retries += totals.upstream_retries;
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

/// Adds one to a gauge for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted<'a>(&'a AtomicI64);

impl<'a> Counted<'a> {
    pub(crate) fn new(gauge: &'a AtomicI64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A histogram of durations in [`BUCKETS`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// Observations in each bucket, not cumulative; the last is everything above.
    pub counts: [u64; BUCKETS.len() + 1],
    /// Sum of all observations.
    pub sum: Duration,
}

impl Histogram {
    fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BUCKETS.partition_point(|bound| *bound < seconds);
        self.counts[bucket] += 1;
        self.sum += duration;
    }

    fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.sum += other.sum;
    }
}

/// Upper bounds in seconds.
pub(super) const BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// One of the nine standard methods, or `other`.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("other")
}
