//! Short answers of our own: what happened, and the reason word to look for in the log.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use super::response_body::ResponseBody;
use crate::failure::{Reason, Side};
use crate::records::Exchange;

/// The answer to a request that cannot be served, or none when nobody can be told. Closes the record.
pub(crate) fn refuse(
    reason: Reason,
    mut exchange: Box<Exchange>,
) -> Option<Response<ResponseBody>> {
    let (status, text) = told(reason, &mut exchange)?;
    let mut response = plain(status, text, exchange);
    let headers = response.headers_mut();
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))
        }
        StatusCode::METHOD_NOT_ALLOWED => headers.insert(
            ALLOW,
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ),
        _ => None,
    };
    // After a client's fault its next byte cannot be trusted to be the start of a request.
    if reason.side() == Side::Client {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Some(response)
}

/// A short answer of our own; its status stands in the exchange already.
pub(crate) fn plain(
    status: StatusCode,
    text: String,
    exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::local(Bytes::from(text), exchange));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PLAIN);
    response
}

/// The bytes of an answer where there is no request, with `extra` header lines.
pub(crate) fn answer(status: StatusCode, extra: &str, text: &str, has_body: bool) -> Vec<u8> {
    let phrase = status.canonical_reason().unwrap_or_default();
    let date = httpdate::fmt_http_date(SystemTime::now());
    let head = format!(
        "HTTP/1.1 {} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nDate: {date}\r\n{extra}\r\n",
        status.as_u16(),
        text.len(),
    );
    let mut bytes = head.into_bytes();
    if has_body {
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// The bytes of a refusal where no request could be read. Closes the record; none when nobody can be told.
pub(crate) fn refuse_raw(reason: Reason, mut exchange: Box<Exchange>) -> Option<Vec<u8>> {
    let (status, text) = told(reason, &mut exchange)?;
    exchange.sent(text.len());
    Some(answer(status, "Connection: close\r\n", &text, true))
}

/// What the client is told: the status, which is noted in the exchange, and the body of every refusal.
fn told(reason: Reason, exchange: &mut Exchange) -> Option<(StatusCode, String)> {
    exchange.fail(reason);
    let (status, why) = reason.answer()?;
    exchange.respond(status);
    let phrase = status.canonical_reason().unwrap_or_default();
    let text = format!(
        "{} {phrase}: {why} (reason: {})\n",
        status.as_u16(),
        reason.word()
    );
    Some((status, text))
}

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
