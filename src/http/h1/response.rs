//! The head of an answer as HTTP/1 writes it (RFC 9112, section 4), how its body is framed, and whether the connection goes on
//! behind it.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, response};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;

use crate::headers::{Speller, Spelling, has_option};
use crate::http::date::Date;
use crate::http::fields::{announced_trailers, write_field};
use crate::http::head::content_length;
use crate::http::message::Framed;
use crate::http::response_body::ResponseBody;

/// What of the request matters for writing the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The answer has no body, whatever its head says (RFC 9112, section 6.3).
    is_head: bool,
    /// By a client that speaks HTTP/1.0: it knows neither chunks nor interim answers.
    pub(super) is_old: bool,
    takes_trailers: bool,
    /// The client may ask again.
    is_kept: bool,
    /// Names are written as they came, `Like-This` if they came in lower case only.
    pub(super) keeps_case: bool,
}

impl Asked {
    pub(super) fn new(request: &Request<()>, is_kept: bool, keeps_case: bool) -> Self {
        let codings = request.headers().get_all(TE).iter();
        let mut codings = codings.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        Self {
            is_head: request.method() == Method::HEAD,
            is_old: request.version() == Version::HTTP_10,
            takes_trailers: codings.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"trailers")),
            is_kept,
            keeps_case,
        }
    }
}

/// A head that can be written.
pub(super) struct Written {
    pub(super) head: Bytes,
    pub(super) framed: Framed,
    /// Nothing follows the answer.
    pub(super) closes: bool,
}

/// Writes the head behind what goes `ahead` of it.
pub(super) fn write(
    head: &mut response::Parts,
    body: &ResponseBody,
    spelling: Option<&Spelling>,
    asked: Asked,
    date: &Date,
    mut ahead: Vec<u8>,
) -> Written {
    let framed = frame(head, body, asked);
    let says_close = has_option(&head.headers, "close");
    let closes = says_close || !asked.is_kept || matches!(framed, Framed::UntilClose);
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        match (closes, asked.is_old) {
            (true, _) => head.headers.insert(CONNECTION, CLOSE),
            (false, true) => head.headers.insert(CONNECTION, KEEP_ALIVE),
            (false, false) => None,
        };
    }
    if !head.headers.contains_key(DATE) {
        head.headers.insert(DATE, date.now());
    }
    ahead.reserve(USUAL_HEAD);
    let version = if asked.is_old {
        "HTTP/1.0 "
    } else {
        "HTTP/1.1 "
    };
    ahead.extend_from_slice(version.as_bytes());
    let reason = head.extensions.get::<ReasonPhrase>();
    line(&mut ahead, head.status, reason);
    fields(&mut ahead, &head.headers, asked.keeps_case, spelling);
    Written {
        head: ahead.into(),
        framed,
        closes,
    }
}

/// Writes what goes ahead of the answer (RFC 9110, section 15.2).
pub(super) fn write_interim(interim: &Response<()>, keeps_case: bool, to: &mut Vec<u8>) {
    to.extend_from_slice(b"HTTP/1.1 ");
    line(to, interim.status(), None);
    fields(to, interim.headers(), keeps_case, None);
}

/// The rest of the first line.
fn line(to: &mut Vec<u8>, status: StatusCode, reason: Option<&ReasonPhrase>) {
    to.extend_from_slice(status.as_str().as_bytes());
    to.push(b' ');
    // Some clients cannot do without.
    let usual = || status.canonical_reason().unwrap_or("<none>").as_bytes();
    to.extend_from_slice(reason.map_or_else(usual, ReasonPhrase::as_bytes));
    to.extend_from_slice(b"\r\n");
}

fn fields(to: &mut Vec<u8>, fields: &HeaderMap, keeps_case: bool, spelling: Option<&Spelling>) {
    let mut speller = Speller::new(spelling);
    for (name, value) in fields {
        write_field(to, name, value, keeps_case, &mut speller);
    }
    to.extend_from_slice(b"\r\n");
}

/// RFC 9112, section 6: how the body is framed, which the head is made to say.
fn frame(head: &mut response::Parts, body: &ResponseBody, asked: Asked) -> Framed {
    let fields = &mut head.headers;
    let length = body.size_hint().exact();
    let is_bodiless = head.status.is_informational()
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    if is_bodiless {
        return Framed::Nothing;
    }
    if asked.is_head {
        // What a GET would have said, where somebody knows.
        if let Some(length @ 1..) = length
            && !fields.contains_key(CONTENT_LENGTH)
        {
            fields.insert(CONTENT_LENGTH, length.into());
        }
        return Framed::Nothing;
    }
    let said = || {
        let said = fields.get(CONTENT_LENGTH)?;
        content_length(said.as_bytes())
    };
    match length.or_else(said) {
        Some(length) => {
            if said() != Some(length) {
                fields.insert(CONTENT_LENGTH, length.into());
            }
            if length == 0 {
                Framed::Nothing
            } else {
                Framed::Length(length)
            }
        }
        None if asked.is_old => {
            fields.remove(CONTENT_LENGTH);
            Framed::UntilClose
        }
        None => {
            fields.remove(CONTENT_LENGTH);
            fields.insert(TRANSFER_ENCODING, CHUNKED);
            Framed::Chunked(if asked.takes_trailers {
                announced_trailers(fields)
            } else {
                Vec::new()
            })
        }
    }
}

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const KEEP_ALIVE: HeaderValue = HeaderValue::from_static("keep-alive");
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");
const USUAL_HEAD: usize = 512;
