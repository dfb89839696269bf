//! What came in clear: it is sent to https (RFC 9110, section 15.4.9: method and body stay), without a byte of it going
//! anywhere else.

use http::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;

use crate::config::Config;
use crate::failure::Reason;
use crate::forward::Unanswerable;
use crate::headers;
use crate::http::{RequestBody, ResponseBody, plain, refuse};
use crate::records::Exchange;

/// Where it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The listener that is there for it.
    Redirect,
    /// The HTTPS listener, by mistake.
    Https,
}

/// Whether a request that came in clear goes to the application all the same: a certificate authority asks for its proof
/// in clear (RFC 8555, section 8.3). What it does not need for that is taken off: applications read another path, another
/// method or a user's password from fields, and nothing but the proof is open in clear.
pub(crate) fn let_through(request: &mut Request<RequestBody>, config: &Config) -> bool {
    let is_wanted = config.redirect_exempt.iter().any(|path| path == ACME);
    let uri = request.uri();
    let token = uri.path().strip_prefix(ACME);
    // base64url, so that nothing else is let through whatever the application makes of a path.
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_proof = is_wanted
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && token.is_some_and(|token| !token.is_empty() && token.bytes().all(is_letter))
        && uri.query().is_none()
        && uri.scheme().is_none()
        && request.body().is_end_stream();
    if is_proof {
        let fields = std::mem::take(request.headers_mut());
        for name in [HOST, USER_AGENT, ACCEPT] {
            for value in fields.get_all(&name) {
                request.headers_mut().append(name.clone(), value.clone());
            }
        }
    }
    is_proof
}

/// Answers a request that came in clear.
pub(crate) fn redirect(
    request: &Request<RequestBody>,
    mut exchange: Box<Exchange>,
    config: &Config,
    door: Door,
) -> Result<Response<ResponseBody>, Unanswerable> {
    let is_exempt = |path: &String| path == request.uri().path() && path != ACME;
    if door == Door::Redirect && config.redirect_exempt.iter().any(is_exempt) {
        return Ok(answer(StatusCode::OK, "ok\n".to_owned(), exchange));
    }
    let location = match location(request, config.redirect_port, door) {
        Ok(location) => location,
        Err(reason) => return refuse(reason, exchange).ok_or(Unanswerable),
    };
    if door == Door::Https {
        exchange.fail(Reason::PlainHttp);
    }
    let text = format!("308 Permanent Redirect: {location}\n");
    let mut response = answer(StatusCode::PERMANENT_REDIRECT, text, exchange);
    let fields = response.headers_mut();
    // Made of an authority and a path that were parsed, it is valid.
    if let Ok(location) = HeaderValue::from_str(&location) {
        fields.insert(LOCATION, location);
    }
    if door == Door::Https {
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn answer(status: StatusCode, text: String, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
    exchange.respond(status);
    plain(status, text, exchange)
}

/// Fails when there is nowhere to send the request: no usable Host, or a method that is never forwarded. Who sends a body to
/// the wrong port in clear is told so, rather than to send it once more.
fn location(request: &Request<RequestBody>, port: u16, door: Door) -> Result<String, Reason> {
    let method = request.method();
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Reason::MethodRefused);
    }
    if door == Door::Https && !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Reason::PlainHttp);
    }
    let host = headers::authority(request)?.ok_or(Reason::BadHost)?;
    let authority = Authority::try_from(host.as_bytes()).map_err(|_| Reason::BadHost)?;
    let host = authority.host();
    let path = match request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str())
    {
        // `OPTIONS *` names no path.
        "*" => "/",
        path => path,
    };
    Ok(match port {
        443 => format!("https://{host}{path}"),
        _ => format!("https://{host}:{port}{path}"),
    })
}

const ACME: &str = "/.well-known/acme-challenge/";
