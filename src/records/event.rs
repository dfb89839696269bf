//! Records as `tracing` events: what a record says, field by field. How it is written is the layer's business.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, Version};
use tracing::{Level, event};
use uuid::fmt::Hyphenated;

use super::exchange::{Exchange, new_id};
use super::layer::RECORD;
use crate::failure::Reason;
use crate::metrics::{ExchangeFacts, HandshakeFacts, Meter};

/// One record for an exchange, and its share of the metrics.
pub(super) fn exchange(exchange: &Exchange) {
    let now = Instant::now();
    let reason = exchange.reason();
    let total = now.duration_since(exchange.started);
    let upstream = exchange
        .sent_upstream
        .map(|sent| exchange.first_byte.unwrap_or(now).duration_since(sent));
    exchange.conn.site.meter.exchange(&ExchangeFacts {
        method: exchange.method.as_ref(),
        status: exchange.status,
        reason,
        duration: total,
        upstream,
        bytes_in: exchange.bytes_in(),
        bytes_out: exchange.bytes_out,
    });
    let conn = &exchange.conn;
    let tls = conn.tls.as_ref();
    let id = exchange.id.hyphenated();
    let mut buffer = [0; Hyphenated::LENGTH];
    let id: &str = id.encode_lower(&mut buffer);
    let path = exchange.uri.as_ref().map(|uri| uri.path());
    event!(
        target: RECORD, parent: None, Level::INFO,
        kind = "exchange",
        id,
        time = %humantime::format_rfc3339_micros(exchange.time),
        service = &*conn.site.service,
        request_id = exchange.request_id.as_ref().map_or(id, |id| id.to_str().unwrap_or_default()),
        trace_id = exchange.trace_id.as_ref().and_then(|value| value.to_str().ok()?.get(3..35)),
        client = %exchange.client.unwrap_or_else(|| conn.client.ip()),
        client_port = exchange.client.is_none().then(|| conn.client.port()),
        proxy = exchange.client.map(|_| tracing::field::display(conn.client.ip())),
        client_id = conn.peer.as_ref().map(|peer| &*peer.name),
        method = exchange.method.as_ref().map(|method| method.as_str()),
        host = exchange.host.as_ref().map(HeaderValue::as_bytes),
        path,
        status = exchange.status.map(|status| status.as_u16()),
        reason = reason.map_or("", Reason::word),
        bytes_in = exchange.bytes_in(),
        bytes_out = exchange.bytes_out,
        duration_ms = millis(total),
        handshake_ms = conn.handshake.take().map(millis),
        connect_ms = exchange.connect.map(millis),
        first_byte_ms = exchange.first_byte.map(|at| millis(at.duration_since(exchange.started))),
        body_ms = exchange.first_byte.map(|at| millis(now.duration_since(at))),
        upstream_ms = upstream.map(millis),
        target = exchange.target.as_ref().map(|target| tracing::field::display(&target.url)),
        upstream = exchange.upstream.map(tracing::field::display),
        retries = exchange.retries,
        http = exchange.version.map(http),
        tls = tls.map(|tls| tls.version),
        cipher = tls.and_then(|tls| tls.cipher),
        sni = tls.and_then(|tls| tls.sni.as_deref()),
        alpn = tls.and_then(|tls| tls.alpn),
        resumed = tls.map(|tls| tls.resumed),
        generation = tls.map(|tls| tls.generation.number),
        user_agent = exchange.user_agent.as_ref().map(HeaderValue::as_bytes),
        referer = exchange.referer.as_ref().map(|value| without_query(value.as_bytes())),
        closed_by = reason.map(|reason| reason.side().word()),
    );
}

/// A handshake that failed.
#[derive(Debug)]
pub(crate) struct Handshake<'a> {
    /// Who tried.
    pub client: SocketAddr,
    /// `--service-name`.
    pub service: &'a str,
    /// When the connection was accepted.
    pub accepted: Instant,
    /// Why it failed.
    pub reason: Reason,
    /// The same in words.
    pub detail: &'a str,
    /// The generation that was on offer.
    pub generation: u64,
}

/// The record of a handshake that failed, and its share of the metrics.
pub(crate) fn handshake(meter: &Meter, failed: &Handshake<'_>) {
    meter.handshake(&HandshakeFacts {
        reason: Some(failed.reason),
        tls: None,
        took: failed.accepted.elapsed(),
    });
    let time = SystemTime::now();
    let id = new_id(time).hyphenated();
    event!(
        target: RECORD, parent: None, Level::INFO,
        kind = "handshake",
        id = %id,
        time = %humantime::format_rfc3339_micros(time),
        service = failed.service,
        client = %failed.client.ip(),
        client_port = failed.client.port(),
        reason = failed.reason.word(),
        detail = failed.detail,
        duration_ms = millis(failed.accepted.elapsed()),
        generation = failed.generation,
        closed_by = failed.reason.side().word(),
    );
}

/// The record of something that changed, or was refused a change, by an operator or by itself.
pub(crate) fn audit(service: &str, action: &str, result: &str, reason: &str, detail: &str) {
    let time = SystemTime::now();
    event!(
        target: RECORD, parent: None, Level::INFO,
        kind = "audit",
        id = %new_id(time).hyphenated(),
        time = %humantime::format_rfc3339_micros(time),
        service,
        action,
        result,
        reason,
        detail,
    );
}

fn http(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

/// Credentials travel in queries, so a referer is logged without its own.
fn without_query(referer: &[u8]) -> &[u8] {
    referer
        .split(|byte| matches!(byte, b'?' | b'#'))
        .next()
        .unwrap_or_default()
}

/// Milliseconds with microseconds behind the point.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
