//! The head of a request as HTTP/1 writes it (RFC 9112, section 3), and how its body is framed.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    MAX_FORWARDS, SET_COOKIE, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue, request};
use http_body::Body;

use crate::headers::{Speller, Spelling, write_usual};
use crate::http::content_length;

/// How the body behind a head is framed.
#[derive(Clone, Debug)]
pub(super) enum Framing {
    /// Nothing more to write.
    Nothing,
    /// So many bytes more.
    Length(u64),
    /// In chunks, and behind them those trailers that the head has announced.
    Chunked(Vec<HeaderName>),
}

/// Writes the head. Names are written as the client wrote them, `Like-This` where no client did, if case is kept at all, and in
/// lower case if not.
pub(super) fn write(
    request: &request::Parts,
    body: &impl Body,
    keeps_case: bool,
) -> (Bytes, Framing) {
    let fields = &request.headers;
    let mut head = Vec::with_capacity(USUAL_HEAD);
    head.extend_from_slice(request.method.as_str().as_bytes());
    head.push(b' ');
    let target = request.uri.path_and_query().map_or("", |it| it.as_str());
    if !target.starts_with(['/', '*']) {
        // `http://host?query` has an empty path, which is `/`.
        head.push(b'/');
    }
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    let framing = framing(fields, body);
    let mut speller = Speller::new(request.extensions.get::<Spelling>());
    for (name, value) in fields {
        let is_framed_otherwise = match framing {
            Framing::Nothing => name == TRANSFER_ENCODING,
            Framing::Length(_) => false,
            Framing::Chunked(_) => name == CONTENT_LENGTH,
        };
        if !is_framed_otherwise {
            write_field(&mut head, name, value, keeps_case, &mut speller);
        }
    }
    head.extend_from_slice(b"\r\n");
    (head.into(), framing)
}

fn write_field<'a>(
    to: &mut Vec<u8>,
    name: &'a HeaderName,
    value: &HeaderValue,
    keeps_case: bool,
    speller: &mut Speller<'a>,
) {
    let name = name.as_str().as_bytes();
    match speller.next(name) {
        _ if !keeps_case => to.extend_from_slice(name),
        Some(written) => to.extend_from_slice(written),
        None => write_usual(to, name),
    }
    to.extend_from_slice(b": ");
    to.extend_from_slice(value.as_bytes());
    to.extend_from_slice(b"\r\n");
}

fn framing(fields: &HeaderMap, body: &impl Body) -> Framing {
    if body.is_end_stream() {
        return Framing::Nothing;
    }
    let length = fields.get(CONTENT_LENGTH);
    let length = length.filter(|_| !fields.contains_key(TRANSFER_ENCODING));
    match length.and_then(|length| content_length(length.as_bytes())) {
        Some(length) => Framing::Length(length),
        None => Framing::Chunked(announced(fields)),
    }
}

/// The trailers that a head announces.
fn announced(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(TRAILER).iter();
    let names = values.filter_map(|value| value.to_str().ok());
    names
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !NO_TRAILERS.contains(name))
        .collect()
}

/// The end of a chunked body: the last chunk and those trailers that were announced.
pub(super) fn end(trailers: &HeaderMap, announced: &[HeaderName], keeps_case: bool) -> Bytes {
    let mut end = b"0\r\n".to_vec();
    for (name, value) in trailers {
        if announced.contains(name) {
            write_field(&mut end, name, value, keeps_case, &mut Speller::new(None));
        }
    }
    end.extend_from_slice(b"\r\n");
    end.into()
}

/// Fields that say how a message is to be read, which is too late in a trailer (RFC 9110, section 6.5.1). Those that frame or
/// route it are gone already.
const NO_TRAILERS: [HeaderName; 8] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    CONTENT_TYPE,
    MAX_FORWARDS,
    SET_COOKIE,
    TRAILER,
];
const USUAL_HEAD: usize = 1024;
