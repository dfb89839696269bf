//! The head of a request as HTTP/1 writes it (RFC 9112, section 3), and how its body is framed.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request};
use http_body::Body;

use crate::headers::{Speller, Spelling};
use crate::http::{Framed, announced_trailers, content_length, write_field};

/// Writes the head. Names are written as the client wrote them, `Like-This` where no client did, if case is kept at all, and in
/// lower case if not.
pub(super) fn write<B>(
    request: &Request<B>,
    body: &impl Body,
    keeps_case: bool,
) -> (Bytes, Framed) {
    let fields = request.headers();
    let mut head = Vec::with_capacity(USUAL_HEAD);
    head.extend_from_slice(request.method().as_str().as_bytes());
    head.push(b' ');
    let target = request.uri().path_and_query().map_or("", |it| it.as_str());
    if !target.starts_with(['/', '*']) {
        // `http://host?query` has an empty path, which is `/`.
        head.push(b'/');
    }
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    let framing = framing(fields, body);
    let mut speller = Speller::new(request.extensions().get::<Spelling>());
    for (name, value) in fields {
        let is_framed_otherwise = match framing {
            Framed::Nothing => name == TRANSFER_ENCODING,
            Framed::Length(_) => false,
            Framed::Chunked(_) | Framed::UntilClose => name == CONTENT_LENGTH,
        };
        if !is_framed_otherwise {
            write_field(&mut head, name, value, keeps_case, &mut speller);
        }
    }
    head.extend_from_slice(b"\r\n");
    (head.into(), framing)
}

fn framing(fields: &HeaderMap, body: &impl Body) -> Framed {
    if body.is_end_stream() {
        return Framed::Nothing;
    }
    let length = fields.get(CONTENT_LENGTH);
    let length = length.filter(|_| !fields.contains_key(TRANSFER_ENCODING));
    match length.and_then(|length| content_length(length.as_bytes())) {
        Some(length) => Framed::Length(length),
        None => Framed::Chunked(announced_trailers(fields)),
    }
}

const USUAL_HEAD: usize = 1024;
