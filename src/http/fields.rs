//! Fields as HTTP/1 writes them (RFC 9112, section 5), in a head and behind a chunked body.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, MAX_FORWARDS,
    SET_COOKIE, TRAILER,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::headers::{Speller, write_usual};

/// Writes a field. Its name is written as the speller says, `Like-This` where it says nothing, if case is kept at all, and in
/// lower case if not.
pub(crate) fn write_field<'a>(
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

/// The trailers that a head announces.
pub(crate) fn announced_trailers(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(TRAILER).iter();
    let names = values.filter_map(|value| value.to_str().ok());
    names
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !NO_TRAILERS.contains(name))
        .collect()
}

/// The end of a chunked body: the last chunk and those trailers that were announced.
pub(super) fn last_chunk(
    trailers: &HeaderMap,
    announced: &[HeaderName],
    keeps_case: bool,
) -> Bytes {
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
