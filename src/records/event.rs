//! Records as `tracing` events: what a record says, field by field. How it is written is the layer's business.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, StatusCode, Uri};
use tracing::{Level, event};
use uuid::fmt::Hyphenated;

use super::asked::Asked;
use super::class::Class;
use super::exchange::Exchange;
use super::id::new_id;
use super::log::RECORD;
use super::moment::moment;
use super::spans;
use crate::conn::Site;
use crate::failure::{Reason, Side};
use crate::metrics::{ExchangeFacts, HandshakeFacts};
use crate::trace;

/// One record for an exchange, and its share of the metrics.
pub(super) fn exchange(exchange: &Exchange) {
    let now = Instant::now();
    let reason = exchange.reason();
    let total = now.duration_since(exchange.started);
    let upstream = exchange.upstream_took(now);
    let nothing;
    let asked = match &exchange.asked {
        Some(asked) => &**asked,
        None => {
            nothing = Asked::default();
            &nothing
        }
    };
    let conn = &exchange.conn;
    let (site, tls) = (&conn.site, conn.tls.as_ref());
    let trace = exchange.trace.as_deref();
    let begun = trace.map(|trace| trace.id.hex());
    // Without an exporter it is the one that the client speaks of, if any.
    let trace_id = begun
        .as_ref()
        .map(|id| trace::text(id))
        .or_else(|| asked.trace_id());
    let is_sampled = match trace {
        Some(trace) => trace.is_sampled(),
        None => exchange.is_believed && asked.is_sampled(),
    };
    site.meter.exchange(&ExchangeFacts {
        method: asked.method.as_ref(),
        status: exchange.status,
        reason,
        duration: total,
        upstream,
        bytes_in: exchange.bytes_in(),
        bytes_out: exchange.bytes_out,
        retries: exchange.retries,
        trace_id: trace_id.filter(|_| is_sampled),
    });
    spans::finished(exchange, asked, reason, total);
    let is_targets_fault = is_targets_fault(exchange.status, reason);
    if let Some(target) = &exchange.target
        && (is_targets_fault || exchange.sent_upstream.is_some())
    {
        // What was refused before it got there says nothing of it.
        target.count(is_targets_fault);
    }
    let id = exchange.id.hyphenated();
    let mut buffer = [0; Hyphenated::LENGTH];
    let id: &str = id.encode_lower(&mut buffer);
    // What clients say is shown as far as it may be.
    let shown = |text| site.policy.shown(text);
    let uri = asked.uri.as_ref();
    let query = uri.and_then(Uri::query).filter(|_| site.policy.query);
    let headers = site.policy.object(&asked.headers);
    let referer = asked.referer();
    let user_agent = asked.user_agent.as_ref().map(HeaderValue::as_bytes);
    let sni = tls.and_then(|tls| tls.sni.as_deref());
    // What may last for as long as it wants is not slow.
    let took = if exchange.is_endless() {
        Duration::ZERO
    } else {
        total
    };
    let class = Class::of(exchange.status, reason, took, upstream, site.policy.slow);
    event!(
        target: RECORD, parent: None, Level::INFO,
        class = class.number(),
        kind = "exchange",
        id,
        time = &moment(exchange.time)[..],
        service = &*site.service,
        request_id = exchange.request_id.as_ref().map_or(id, |id| id.to_str().unwrap_or_default()),
        trace_id,
        client = exchange.client.as_deref().unwrap_or(&conn.client_ip),
        client_port = exchange.client.is_none().then(|| conn.client.port()),
        proxy = exchange.client.is_some().then_some(&*conn.client_ip),
        client_id = conn.peer.as_ref().map(|peer| shown(peer.name.as_bytes())).as_deref(),
        method = asked.method().map(|method| shown(method.as_bytes())).as_deref(),
        host = asked.host().map(shown).as_deref(),
        path = asked.path().map(shown).as_deref(),
        query = query.map(|query| shown(query.as_bytes())).as_deref(),
        headers = headers.as_deref(),
        status = exchange.status.map_or(0, |status| status.as_u16()),
        reason = reason.map_or("", Reason::word),
        bytes_in = exchange.bytes_in(),
        bytes_out = exchange.bytes_out,
        duration_ms = millis(total),
        handshake_ms = conn.handshake.take().map(millis),
        queue_ms = queued(exchange, asked).map(millis),
        connect_ms = exchange.connect.map(millis),
        first_byte_ms = exchange.first_byte.map(|at| millis(at.duration_since(exchange.started))),
        body_ms = exchange.first_byte.map(|at| millis(now.duration_since(at))),
        upstream_ms = upstream.map(millis),
        target = exchange.target.as_ref().map(|target| &*target.text),
        upstream = exchange.upstream.as_deref(),
        retries = exchange.retries,
        http = asked.http(),
        tls = tls.map(|tls| tls.version),
        cipher = tls.and_then(|tls| tls.cipher),
        sni = sni.map(|sni| shown(sni.as_bytes())).as_deref(),
        alpn = tls.and_then(|tls| tls.alpn),
        resumed = tls.map(|tls| tls.resumed),
        generation = tls.map(|tls| tls.generation.number),
        user_agent = user_agent.map(shown).as_deref(),
        referer = referer.as_deref().map(shown).as_deref(),
        closed_by = reason.map(|reason| reason.side().word()),
    );
}

/// Whether an exchange speaks against the target that it went to.
fn is_targets_fault(status: Option<StatusCode>, reason: Option<Reason>) -> bool {
    match reason {
        Some(Reason::UpstreamLoop | Reason::UpstreamForbidden) => true,
        Some(reason) => reason.side() == Side::Upstream,
        None => status.is_some_and(|status| status.is_server_error()),
    }
}

/// From the request's head to its departure, without what connecting took: what it waited for in here.
fn queued(exchange: &Exchange, asked: &Asked) -> Option<Duration> {
    let waited = exchange.sent_upstream?.duration_since(asked.at?);
    Some(waited.saturating_sub(exchange.connect.unwrap_or_default()))
}

/// A handshake that failed.
#[derive(Debug)]
pub(crate) struct Handshake<'a> {
    /// Who tried.
    pub client: SocketAddr,
    /// When the connection was accepted.
    pub accepted: Instant,
    /// Why it failed.
    pub reason: Reason,
    /// The same in words.
    pub detail: &'a str,
    /// The name that the client asked for.
    pub sni: Option<&'a str>,
    /// The protocols that it offered.
    pub alpn: Option<&'a [u8]>,
    /// The generation that was on offer.
    pub generation: u64,
}

/// The record of a handshake that failed, and its share of the metrics.
pub(crate) fn handshake(site: &Site, failed: &Handshake<'_>) {
    let shown = |text| site.policy.shown(text);
    let took = failed.accepted.elapsed();
    site.meter.handshake(&HandshakeFacts {
        reason: Some(failed.reason),
        tls: None,
        took,
    });
    let time = SystemTime::now();
    let id = new_id(time).hyphenated();
    event!(
        target: RECORD, parent: None, Level::INFO,
        // Also where it is the sidecar that had no room: clients can make as many as they like.
        class = Class::Refused.number(),
        kind = "handshake",
        id = %id,
        time = &moment(time)[..],
        service = &*site.service,
        client = %failed.client.ip(),
        client_port = failed.client.port(),
        reason = failed.reason.word(),
        detail = &*shown(failed.detail.as_bytes()),
        sni = failed.sni.map(|sni| shown(sni.as_bytes())).as_deref(),
        alpn = failed.alpn.map(shown).as_deref(),
        status = 0_u64,
        duration_ms = millis(took),
        generation = failed.generation,
        closed_by = failed.reason.side().word(),
    );
}

/// Something that changed, or was refused a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audit<'a> {
    /// What was done, or would have been.
    pub action: &'static str,
    /// How that ended.
    pub result: &'static str,
    /// The stable word for why it did not go well; empty when it did.
    pub reason: &'static str,
    /// All of it in words.
    pub detail: &'a str,
    /// Who did it; none where it was nobody's wish.
    pub actor: Option<&'a str>,
}

/// The record of it.
pub(crate) fn audit(service: &str, audit: &Audit<'_>) {
    let Audit {
        action,
        result,
        reason,
        detail,
        actor,
    } = *audit;
    let time = SystemTime::now();
    event!(
        target: RECORD, parent: None, Level::INFO,
        class = Class::Audit.number(),
        kind = "audit",
        id = %new_id(time).hyphenated(),
        time = &moment(time)[..],
        service,
        action,
        result,
        reason,
        actor,
        detail,
    );
}

/// As durations travel in an event: whole microseconds, which are written as milliseconds.
fn millis(duration: Duration) -> i64 {
    duration.as_micros() as i64
}
