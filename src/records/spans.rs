//! The spans of an exchange: one for itself, and one for each time that the application was asked. Their attributes are those of
//! OpenTelemetry's semantic conventions for HTTP and RPC, where these have a name for it.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use http::uri::Authority;
use http::{HeaderValue, Method, StatusCode, Uri};

use super::asked::Asked;
use super::exchange::Exchange;
use super::policy::Policy;
use crate::failure::{Reason, Side};
use crate::trace::{Attempt, Attribute, Kind, Span, SpanId, Status, Trace, Value};

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
        let (exchange, conn) = (self.exchange, &self.exchange.conn);
        let mut told = self.request();
        let client = exchange.client.as_deref().unwrap_or(&conn.client_ip);
        told.push(("client.address", owned(client)));
        told.push(("network.peer.address", owned(&conn.client_ip)));
        told.push((
            "network.peer.port",
            Value::Number(conn.client.port().into()),
        ));
        let is_secure = conn.tls.is_some();
        let scheme = if is_secure { "https" } else { "http" };
        told.push(("url.scheme", fixed(scheme)));
        told.extend(self.path().map(|path| ("url.path", path)));
        told.extend(self.query().map(|query| ("url.query", query)));
        let agent = self.asked.user_agent.as_ref().map(HeaderValue::as_bytes);
        told.extend(agent.map(|agent| ("user_agent.original", self.shown(agent))));
        told.extend(
            self.asked
                .http()
                .map(|http| ("network.protocol.version", fixed(http))),
        );
        self.named(&mut told);
        if let Some(tls) = &conn.tls {
            told.push(("tls.protocol.version", fixed(tls.version)));
            told.extend(tls.cipher.map(|cipher| ("tls.cipher", fixed(cipher))));
            told.push(("tls.resumed", Value::Flag(tls.resumed)));
        }
        if let Some(peer) = &conn.peer {
            told.push(("portcullis.client_id", self.shown(peer.name.as_bytes())));
        }
        told.push(("http.request.body.size", size(exchange.bytes_in())));
        told.push(("http.response.body.size", size(exchange.bytes_out)));
        told.push(("portcullis.request_id", self.request_id()));
        let status = self.outcome(Kind::Server, &mut told);
        Span {
            parent: self.trace.parent,
            ..self.span(
                Kind::Server,
                self.trace.server,
                exchange.started,
                took,
                status,
                told,
            )
        }
    }

    fn attempt(&self, number: usize, attempt: &Attempt, ended: Instant) -> Span {
        let mut told = self.request();
        let target = self.exchange.target.as_ref();
        if let Some(target) = target {
            self.upstream(&mut told, &target.text);
        }
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

    /// What is true of both sides.
    fn request(&self) -> Vec<Attribute> {
        let mut told = Vec::with_capacity(24);
        let method = self.asked.method.as_ref();
        told.push((
            "http.request.method",
            fixed(known(method).unwrap_or("_OTHER")),
        ));
        if let (None, Some(method)) = (known(method), method) {
            let original = self.shown(method.as_str().as_bytes());
            told.push(("http.request.method_original", original));
        }
        if let Some((service, method)) = self.call() {
            told.push(("rpc.system", fixed("grpc")));
            told.push(("rpc.service", owned(service)));
            told.push(("rpc.method", owned(method)));
        }
        told
    }

    /// The name that the client has asked for, and its port.
    fn named(&self, told: &mut Vec<Attribute>) {
        let host = self.asked.host().unwrap_or_default();
        let Ok(authority) = Authority::try_from(host) else {
            return;
        };
        told.push(("server.address", self.shown(authority.host().as_bytes())));
        told.extend(
            authority
                .port_u16()
                .map(|port| ("server.port", Value::Number(port.into()))),
        );
    }

    /// Where the application is.
    fn upstream(&self, told: &mut Vec<Attribute>, target: &str) {
        let path = self.asked.uri.as_ref().map_or("", Uri::path);
        let base = target
            .strip_prefix("unix:")
            .map_or(target, |_| "http://localhost");
        let base = base.trim_end_matches('/').replacen("h2c://", "http://", 1);
        let url = match self.asked.uri.as_ref().and_then(Uri::query) {
            Some(query) if self.policy.query => format!("{base}{path}?{query}"),
            _ => format!("{base}{path}"),
        };
        told.push(("url.full", self.shown(url.as_bytes())));
        let (scheme, authority) = base.split_once("://").unwrap_or(("http", &base));
        told.push(("url.scheme", owned(scheme)));
        if let Some(socket) = target.strip_prefix("unix:") {
            told.push(("server.address", owned(socket)));
            told.push(("network.transport", fixed("unix")));
            return;
        }
        if let Ok(authority) = authority.parse::<Authority>() {
            told.push(("server.address", owned(authority.host())));
            let port = authority.port_u16().unwrap_or(80);
            told.push(("server.port", Value::Number(port.into())));
        }
        let peer = self.exchange.upstream.as_deref();
        if let Some((ip, port)) = peer.and_then(|peer| peer.rsplit_once(':')) {
            told.push(("network.peer.address", owned(ip.trim_matches(['[', ']']))));
            told.extend(
                port.parse()
                    .map(|port| ("network.peer.port", Value::Number(port))),
            );
        }
    }

    /// How it went, as one side sees it.
    fn outcome(&self, kind: Kind, told: &mut Vec<Attribute>) -> Status {
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

    /// Service and method, where it is a call of gRPC.
    fn call(&self) -> Option<(&str, &str)> {
        if !self.trace.is_grpc {
            return None;
        }
        let path = self.asked.uri.as_ref()?.path();
        let (service, method) = path.strip_prefix('/')?.rsplit_once('/')?;
        let is_name = |text: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._".contains(&byte);
            (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_plain)
        };
        (is_name(service) && is_name(method)).then_some((service, method))
    }

    fn path(&self) -> Option<Value> {
        Some(self.shown(self.asked.path()?))
    }

    fn query(&self) -> Option<Value> {
        let query = self.asked.uri.as_ref().and_then(Uri::query);
        let query = query.filter(|_| self.policy.query)?;
        Some(self.shown(query.as_bytes()))
    }

    fn request_id(&self) -> Value {
        match &self.exchange.request_id {
            Some(id) => owned(id.to_str().unwrap_or_default()),
            None => owned(&self.exchange.id.to_string()),
        }
    }

    /// What a client says, as far as it may be shown, and as much of it as a span has room for.
    fn shown(&self, text: &[u8]) -> Value {
        let shown = self.policy.shown(text);
        owned(&String::from_utf8_lossy(&shown))
    }
}

/// The methods that the conventions know.
fn known(method: Option<&Method>) -> Option<&'static str> {
    const KNOWN: [&str; 10] = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
    ];
    let method = method?.as_str();
    KNOWN.into_iter().find(|known| *known == method)
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

fn fixed(text: &'static str) -> Value {
    Value::Text(Cow::Borrowed(text))
}

fn owned(text: &str) -> Value {
    let end = text.floor_char_boundary(LONGEST_TEXT);
    Value::Text(text[..end].to_owned().into())
}

fn size(bytes: u64) -> Value {
    Value::Number(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Bytes of a text in a span: a head may have 64 KiB, and many spans wait at a time.
const LONGEST_TEXT: usize = 1024;
/// Of a service or a method.
const LONGEST_NAME: usize = 256;
/// A kept connection to the application had gone stale.
const STALE: &str = "upstream_stale";
