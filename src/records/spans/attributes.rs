//! What spans say of a request, in the words of the conventions.

use std::borrow::Cow;

use http::uri::Authority;
use http::{HeaderValue, Method, Uri};

use super::super::asked::Asked;
use super::super::policy::Policy;
use super::Told;
use crate::trace::{Attribute, Trace, Value};

impl Told<'_> {
    /// What is true of the exchange as the client sees it.
    pub(super) fn downstream(&self) -> Vec<Attribute> {
        let (exchange, conn) = (self.exchange, &self.exchange.conn);
        let mut told = self.request();
        let client = exchange.client.as_deref().unwrap_or(&conn.client_ip);
        told.push(("client.address", owned(client)));
        if self.knows_peer {
            let port = conn.client.port();
            told.push(("network.peer.address", owned(&conn.client_ip)));
            told.push(("network.peer.port", Value::Number(port.into())));
        }
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
        told
    }

    /// What is true of the exchange as the application sees it, at this address where it is known.
    pub(super) fn upstream(&self, address: Option<&str>) -> Vec<Attribute> {
        let mut told = self.request();
        if let Some(target) = &self.exchange.target {
            self.target(&mut told, &target.text);
        }
        if let Some((ip, port)) = address.and_then(|address| address.rsplit_once(':')) {
            told.push(("network.peer.address", owned(ip.trim_matches(['[', ']']))));
            let port = port.parse().map(Value::Number);
            told.extend(port.map(|port| ("network.peer.port", port)));
        }
        told
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
        if let Some(call) = self.call {
            told.push(("rpc.system.name", fixed("grpc")));
            told.push(("rpc.method", owned(call)));
        }
        told
    }

    /// The name that the client has asked for, and its port.
    fn named(&self, told: &mut Vec<Attribute>) {
        let host = self.asked.host().unwrap_or_default();
        let Ok(authority) = Authority::try_from(host) else {
            return;
        };
        let host = authority.host().trim_matches(['[', ']']);
        told.push(("server.address", self.shown(host.as_bytes())));
        told.extend(
            authority
                .port_u16()
                .map(|port| ("server.port", Value::Number(port.into()))),
        );
    }

    /// Where the application is, and what it is asked for. Path and query are shown as in records, each by itself: a pattern that
    /// says where one begins would not match in the whole.
    fn target(&self, told: &mut Vec<Attribute>, target: &str) {
        let base = target
            .strip_prefix("unix:")
            .map_or(target, |_| "http://localhost");
        let base = base.trim_end_matches('/').replacen("h2c://", "http://", 1);
        let mut url = base.clone().into_bytes();
        let uri = self.asked.uri.as_ref();
        url.extend_from_slice(&self.policy.shown(uri.map_or("", Uri::path).as_bytes()));
        if let (true, Some(query)) = (self.policy.query, uri.and_then(Uri::query)) {
            url.push(b'?');
            url.extend_from_slice(&self.policy.shown(query.as_bytes()));
        }
        told.push(("url.full", owned(&String::from_utf8_lossy(&url))));
        let (scheme, authority) = base.split_once("://").unwrap_or(("http", &base));
        told.push(("url.scheme", owned(scheme)));
        if let Some(socket) = target.strip_prefix("unix:") {
            told.push(("server.address", owned(socket)));
            told.push(("network.transport", fixed("unix")));
            return;
        }
        if let Ok(authority) = authority.parse::<Authority>() {
            let host = authority.host().trim_matches(['[', ']']);
            told.push(("server.address", owned(host)));
            let port = authority.port_u16().unwrap_or(80);
            told.push(("server.port", Value::Number(port.into())));
        }
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

/// `package.Service/Method`, where it is a call of gRPC. What is hidden in its path is not shown as a name either.
pub(super) fn call<'a>(trace: &Trace, asked: &'a Asked, policy: &Policy) -> Option<&'a str> {
    if !trace.is_grpc || asked.method != Some(Method::POST) {
        return None;
    }
    let path = asked.uri.as_ref()?.path();
    let call = path.strip_prefix('/')?;
    let (service, method) = call.split_once('/')?;
    let is_name = |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._".contains(&byte);
        (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_plain)
    };
    let is_shown = policy.shown(path.as_bytes()) == path.as_bytes();
    (is_name(service) && is_name(method) && is_shown).then_some(call)
}

/// The methods that the conventions know.
pub(super) fn known(method: Option<&Method>) -> Option<&'static str> {
    const KNOWN: [&str; 10] = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
    ];
    let method = method?.as_str();
    KNOWN.into_iter().find(|known| *known == method)
}

pub(super) fn fixed(text: &'static str) -> Value {
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
