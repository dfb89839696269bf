//! Requests for another protocol on the same connection: `Upgrade` in HTTP/1 (RFC 9110, section 7.8), extended CONNECT in
//! HTTP/2 (RFC 8441), and the way from one to the other, which only WebSocket has (RFC 6455, RFC 8441).
//!
//! Until the application has agreed this is a request like any other: nothing that the client sends behind it is tunnelled.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, response};
use http_body::Body;

use super::wait::answer;
use super::{Errand, h1, h2 as over};
use crate::failure::Reason;
use crate::headers::{self, visible};
use crate::http::{RequestBody, Sending, Source, Spoken, StreamIo};
use crate::upstream::Heard;

/// What a client asks for.
pub(super) struct Upgrade {
    /// The protocol.
    token: HeaderValue,
    /// Asked for by extended CONNECT.
    is_connect: bool,
    /// WebSocket's question: the client's in HTTP/1, ours where the client has HTTP/2.
    key: Option<HeaderValue>,
}

/// Whether a request asks for another protocol. Extended CONNECT becomes a GET, which is what HTTP/1 knows.
pub(super) fn wanted(request: &mut Request<RequestBody>) -> Result<Option<Upgrade>, Reason> {
    if let Some(protocol) = request.extensions_mut().remove::<Protocol>() {
        if protocol.as_str() != "websocket" {
            return Err(Reason::MethodRefused);
        }
        *request.method_mut() = Method::GET;
        // What follows is no body.
        request.headers_mut().remove(CONTENT_LENGTH);
        return Ok(Some(Upgrade {
            token: WEBSOCKET,
            is_connect: true,
            key: None,
        }));
    }
    let is_possible = request.version() == Version::HTTP_11 && request.body().is_end_stream();
    let token = if is_possible {
        headers::upgrade(request.headers())
    } else {
        None
    };
    Ok(token.map(|token| Upgrade {
        token,
        is_connect: false,
        key: request.headers().get(SEC_WEBSOCKET_KEY).cloned(),
    }))
}

impl Upgrade {
    fn spoken(&self) -> Spoken {
        if self.is_websocket() {
            Spoken::WebSocket
        } else {
            Spoken::Other
        }
    }

    fn is_websocket(&self) -> bool {
        self.token
            .as_bytes()
            .eq_ignore_ascii_case(WEBSOCKET.as_bytes())
    }

    /// Turns the application's agreement into what the client expects.
    pub(super) fn answer(&self, head: &mut response::Parts) {
        // What follows is no body.
        head.headers.remove(CONTENT_LENGTH);
        if self.is_connect {
            head.status = StatusCode::OK;
            head.headers.remove(SEC_WEBSOCKET_ACCEPT);
            return;
        }
        head.status = StatusCode::SWITCHING_PROTOCOLS;
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        head.headers.insert(UPGRADE, self.token.clone());
    }

    /// Whether this 101 is the answer to what was asked.
    fn is_agreed(&self, headers: &HeaderMap) -> bool {
        let is_same =
            |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(self.token.as_bytes());
        // A client of HTTP/1 has asked itself, and judges the answer itself.
        let is_true = match &self.key {
            Some(key) if self.is_connect => headers.get(SEC_WEBSOCKET_ACCEPT) == Some(&accept(key)),
            _ => true,
        };
        let mut agreed = headers.get_all(UPGRADE).iter();
        agreed.next().is_some_and(is_same) && agreed.next().is_none() && is_true
    }
}

/// Asks an application that speaks HTTP/1, on a connection of its own.
pub(super) async fn over_h1(
    mut request: Box<Request<RequestBody>>,
    upgrade: &mut Upgrade,
    errand: &mut Errand<'_>,
) -> Result<Response<Source>, Reason> {
    let fields = request.headers_mut();
    fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(UPGRADE, upgrade.token.clone());
    if upgrade.is_connect {
        let key = new_key();
        fields.insert(SEC_WEBSOCKET_KEY, key.clone());
        fields
            .entry(SEC_WEBSOCKET_VERSION)
            .or_insert(HeaderValue::from_static("13"));
        upgrade.key = Some(key);
    }
    let lease = h1::lease(errand, h1::Wish::Fresh).await?;
    let body = request.body_mut().take();
    let mut asking = h1::begin(&request, body, lease, errand);
    let heard = h1::hear(&mut asking, errand).await?;
    let (response, spelling) = match heard.map_err(|failure| h1::sort(failure, errand.exchange))? {
        Heard::Switching(response, spelling) => (response, spelling),
        heard => {
            // What it makes of the rest of the connection is its own business.
            asking.retire();
            return refused(h1::accept(asking, heard, errand)?, upgrade);
        }
    };
    if !upgrade.is_agreed(response.headers()) {
        return Err(Reason::UpstreamMalformed);
    }
    errand.exchange.progress().spells(spelling);
    let (head, ()) = response.into_parts();
    let stream = asking.into_upgraded().ok_or(Reason::UpstreamClosed)?;
    Ok(Response::from_parts(
        head,
        Source::Tunnel(Box::new(stream), upgrade.spoken()),
    ))
}

/// Asks an application that speaks HTTP/2. There is only WebSocket; anything else stays a request like any other.
pub(super) async fn over_h2(
    mut request: Box<Request<RequestBody>>,
    upgrade: &Upgrade,
    errand: &mut Errand<'_>,
) -> Result<Response<Source>, Reason> {
    let is_whole = upgrade.is_connect || upgrade.key.is_some();
    if !upgrade.is_websocket() || !is_whole {
        return over::ask(request, errand).await;
    }
    let limit = errand.limit();
    request.headers_mut().remove(SEC_WEBSOCKET_KEY);
    *request.method_mut() = Method::CONNECT;
    request
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
    let (head, _) = request.into_parts();
    let (share, opened) = over::open(&head, false, errand).await?;
    let (mut response, stream) = opened;
    let heard = answer(|cx| over::hear(&mut response, cx), errand, limit).await?;
    let response = heard.map_err(|error| over::sort(&error, errand.exchange))?;
    if !response.status().is_success() {
        return over::accept(response, &Method::CONNECT, share, Sending::default());
    }
    let (mut head, receive) = response.into_parts();
    if let (Some(key), false) = (&upgrade.key, upgrade.is_connect) {
        head.headers.insert(SEC_WEBSOCKET_ACCEPT, accept(key));
    }
    let tunnel = StreamIo::new(stream, receive).held_by(share);
    Ok(Response::from_parts(
        head,
        Source::Tunnel(Box::new(tunnel), upgrade.spoken()),
    ))
}

/// The application has answered something else. To a CONNECT every 2xx would mean that the tunnel is there.
fn refused(response: Response<Source>, upgrade: &Upgrade) -> Result<Response<Source>, Reason> {
    if upgrade.is_connect && response.status().is_success() {
        return Err(Reason::UpstreamNoUpgrade);
    }
    Ok(response)
}

/// RFC 6455, section 4.1: sixteen bytes. They only have to differ, so that no cache takes one handshake for another.
fn new_key() -> HeaderValue {
    let mut nonce = [0; 16];
    fastrand::fill(&mut nonce);
    visible(STANDARD.encode(nonce))
}

/// RFC 6455, section 4.2.2: the proof that the key was understood.
fn accept(key: &HeaderValue) -> HeaderValue {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    visible(STANDARD.encode(context.finish()))
}

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proof_is_that_of_the_rfc() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
