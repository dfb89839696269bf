//! The plain HTTP listener: every request is answered 308 to the same path on https (RFC 9110, section 15.4.9: method and
//! body stay), without a byte of it going anywhere else.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::answer::{answer, text};
use super::closing::{close, linger};
use super::framer::Framer;
use super::head::{Framing, HeadLimits};
use super::waiting::{Arrival, Waiting};
use crate::conn::Conn;
use crate::failure::Reason;
use crate::listener::Accepted;
use crate::records::Exchange;
use crate::worker::Worker;

/// Serves a connection to its end.
pub(crate) async fn serve(accepted: Accepted, worker: &Rc<Worker>) {
    let Accepted {
        stream,
        client,
        slot: _slot,
        ..
    } = accepted;
    let conn = Conn {
        site: worker.site.clone(),
        client,
        tls: None,
        handshake: Cell::default(),
    };
    let conn = Rc::new(conn);
    let limits = &worker.config.limits;
    let mut framer = Framer::new(
        stream,
        HeadLimits {
            head: limits.max_head,
            uri: limits.max_uri,
        },
    );
    let mut waiting = Waiting::new(worker);
    loop {
        let (answered, goes_on) = match waiting.next(&mut framer).await {
            Arrival::Over | Arrival::Gone(_) => return close(framer.stream()).await,
            Arrival::Refused(reason, started) => {
                let mut exchange = Exchange::open(&conn, started);
                exchange.refused_head(framer.refused_bytes());
                (refuse(exchange, reason), false)
            }
            Arrival::Head(head, started) => {
                let mut exchange = Exchange::open(&conn, started);
                let asked = Asked::read(framer.head_bytes(&head), &mut exchange);
                framer.skip(&head);
                match asked {
                    None => (refuse(exchange, Reason::BadHost), false),
                    Some(asked) => {
                        // A body is not read here, so what follows it cannot be found.
                        let goes_on = matches!(head.framing, Framing::Length(0))
                            && !asked.is_http10
                            && !worker.is_leaving();
                        (
                            redirect(&asked, exchange, worker.config.redirect_port, goes_on),
                            goes_on,
                        )
                    }
                }
            }
        };
        if !matches!(
            timeout(WRITE_TIMEOUT, framer.stream().write_all(&answered)).await,
            Ok(Ok(()))
        ) {
            return;
        }
        if !goes_on {
            return Box::pin(linger(framer.stream())).await;
        }
    }
}

fn redirect(asked: &Asked, mut exchange: Exchange, port: u16, goes_on: bool) -> Vec<u8> {
    let location = asked.location(port);
    let status = StatusCode::PERMANENT_REDIRECT;
    exchange.respond(status);
    let body = format!("308 Permanent Redirect: {location}\n");
    if asked.has_body {
        exchange.sent(body.len());
    }
    let connection = if goes_on { "" } else { "connection: close\r\n" };
    let bytes = answer(
        status,
        &format!("location: {location}\r\n{connection}"),
        &body,
        asked.has_body,
    );
    exchange.finish();
    bytes
}

fn refuse(mut exchange: Exchange, reason: Reason) -> Vec<u8> {
    exchange.fail(reason);
    let (status, why) = reason
        .answer()
        .unwrap_or((StatusCode::BAD_REQUEST, "the request cannot be served"));
    exchange.respond(status);
    let body = text(status, why, reason);
    exchange.sent(body.len());
    answer(status, "connection: close\r\n", &body, true)
}

/// What a redirect needs to know.
struct Asked {
    host: String,
    path: String,
    has_body: bool,
    is_http10: bool,
}

impl Asked {
    /// None when the request has no usable Host: there is nowhere to send it.
    fn read(bytes: &[u8], exchange: &mut Exchange) -> Option<Self> {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut fields);
        request.parse(bytes).ok()?;
        let method = Method::from_bytes(request.method?.as_bytes()).ok()?;
        let uri = Uri::try_from(request.path?).ok()?;
        let mut headers = HeaderMap::new();
        for field in request.headers.iter() {
            let name = http::HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            headers.append(name, http::HeaderValue::from_bytes(field.value).ok()?);
        }
        let is_http10 = request.version == Some(0);
        let version = if is_http10 {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        };
        exchange.request(&method, &uri, version, &headers);
        let mut hosts = headers.get_all(http::header::HOST).iter();
        let authority = match (uri.authority(), hosts.next(), hosts.next()) {
            (_, _, Some(_)) => return None,
            (Some(authority), _, _) => authority.clone(),
            (None, host, None) => Authority::try_from(host?.as_bytes()).ok()?,
        };
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let path = uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        // `OPTIONS *` names no path.
        let path = if path == "*" { "/".to_owned() } else { path };
        Some(Self {
            host: authority.host().to_owned(),
            path,
            has_body: method != Method::HEAD,
            is_http10,
        })
    }

    fn location(&self, port: u16) -> String {
        let Self { host, path, .. } = self;
        match port {
            443 => format!("https://{host}{path}"),
            _ => format!("https://{host}:{port}{path}"),
        }
    }
}

const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
