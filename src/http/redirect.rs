//! The plain HTTP listener: every request is answered 308 to the same path on https (RFC 9110, section 15.4.9: method and
//! body stay), without a byte of it going anywhere else.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Method, Request, StatusCode, Version};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::answer::{answer, refuse_raw};
use super::closing::{close, linger};
use super::framer::Framer;
use super::head::{Framing, HeadLimits};
use super::waiting::{Arrival, Waiting};
use crate::conn::Conn;
use crate::failure::Reason;
use crate::headers::checked;
use crate::listener::Accepted;
use crate::records::Exchange;
use crate::tenure::Tenure;
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
        peer: None,
        tenure: Tenure::default(),
        cut: Cell::default(),
    };
    let conn = Rc::new(conn);
    let mut framer = Framer::new(stream, HeadLimits::from(&worker.config.limits));
    let mut waiting = Waiting::new(worker, &conn);
    loop {
        let (answered, goes_on) = match waiting.next(&mut framer).await {
            Arrival::Over => return close(framer.stream()).await,
            Arrival::Gone(started) => {
                let exchange = Exchange::open_refused(&conn, started, framer.head_bytes(None));
                (refuse_raw(Reason::ClientGone, exchange), false)
            }
            Arrival::Refused(reason, started) => {
                let exchange = Exchange::open_refused(&conn, started, framer.head_bytes(None));
                (refuse_raw(reason, exchange), false)
            }
            Arrival::Head(head, started) => {
                let mut exchange = Exchange::open(&conn, started);
                let asked = Asked::read(framer.head_bytes(Some(&head)), &mut exchange);
                framer.skip(&head);
                match asked {
                    Err(reason) => (refuse_raw(reason, exchange), false),
                    Ok(asked) => {
                        // A body is not read here, so what follows it cannot be found.
                        let goes_on = matches!(head.framing, Framing::Length(0))
                            && !asked.is_http10
                            && !worker.is_leaving();
                        let port = worker.config.redirect_port;
                        (Some(redirect(&asked, exchange, port, goes_on)), goes_on)
                    }
                }
            }
        };
        let Some(answered) = answered else { return };
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

/// A head that the framer has let through, as a request, and whether it is HTTP/1.0.
fn parse(bytes: &[u8]) -> Option<(Request<()>, bool)> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut fields);
    parsed.parse(bytes).ok()?;
    let mut request = Request::builder().method(parsed.method?).uri(parsed.path?);
    for field in parsed.headers.iter() {
        request = request.header(field.name, field.value);
    }
    Some((request.body(()).ok()?, parsed.version == Some(0)))
}

/// What a redirect needs to know.
struct Asked {
    host: String,
    path: String,
    has_body: bool,
    is_http10: bool,
}

impl Asked {
    /// Fails when there is nowhere to send the request: no usable Host, or a method that is never forwarded.
    fn read(bytes: &[u8], exchange: &mut Exchange) -> Result<Self, Reason> {
        let (request, is_http10) = parse(bytes).ok_or(Reason::BadRequest)?;
        let version = if is_http10 {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        };
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        exchange.request(method, uri, version, headers);
        if matches!(*method, Method::CONNECT | Method::TRACE) {
            return Err(Reason::MethodRefused);
        }
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (uri.authority(), hosts.next(), hosts.next()) {
            (Some(authority), _, None) => HeaderValue::from_str(authority.as_str()).ok(),
            (None, Some(host), None) => Some(host.clone()),
            _ => None,
        };
        let host = checked(host.ok_or(Reason::BadHost)?)?;
        let authority = Authority::try_from(host.as_bytes()).map_err(|_| Reason::BadHost)?;
        let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            // `OPTIONS *` names no path.
            "*" => "/",
            path => path,
        };
        Ok(Self {
            host: authority.host().to_owned(),
            path: path.to_owned(),
            has_body: *method != Method::HEAD,
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
