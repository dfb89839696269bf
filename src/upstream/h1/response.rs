//! Reading the head of a response (RFC 9112, section 4), as leniently as old applications need: line ends without CR, and empty
//! lines ahead of it, are read as they are meant. How its body is framed is read in one way.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use crate::headers::{Spelling, has_option};
use crate::http::Chunked;

/// What follows a head.
#[derive(Debug)]
pub(super) enum Left {
    /// So many bytes, possibly none.
    Length(u64),
    Chunked(Chunked),
    /// All that comes until the application closes.
    UntilClose,
}

/// A head, and what it says of what follows.
#[derive(Debug)]
pub(crate) struct Head {
    pub(super) response: Response<()>,
    pub(super) left: Left,
    /// Another request may follow on the connection.
    pub(super) is_kept: bool,
    /// How the names were written.
    pub(super) spelling: Option<Spelling>,
}

impl Head {
    pub(crate) fn fields(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// How the names in it were written, if somebody is to know.
    pub(crate) fn take_spelling(&mut self) -> Option<Spelling> {
        self.spelling.take()
    }
}

/// What came is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What of the request matters for reading the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The answer has no body, whatever its head says (RFC 9112, section 6.3).
    pub(super) is_head: bool,
    /// The client is to see names as they were written.
    pub(super) keeps_spelling: bool,
}

/// Whether there is a whole head.
pub(super) enum Taken {
    /// And what has come behind it.
    Whole(Head, Bytes),
    /// More must come.
    Partial(Bytes),
}

/// Takes a head off the front of what has come.
pub(super) fn take(come: Bytes, asked: Asked) -> Result<Taken, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, &come, &mut fields) {
        Ok(Status::Complete(length)) if length <= MOST_HEAD => length,
        Ok(Status::Partial) if come.len() < MOST_HEAD => return Ok(Taken::Partial(come)),
        Ok(_) | Err(_) => return Err(Malformed),
    };
    let status = StatusCode::from_u16(parsed.code.ok_or(Malformed)?).map_err(|_| Malformed)?;
    let is_old = parsed.version == Some(0);
    let (headers, spelling) = read(&come, parsed.headers, asked)?;
    let left = framing(status, &headers, is_old, asked)?;
    // One that speaks HTTP/1.0 would again, and lose a body of unknown length.
    let is_kept = !is_old && !has_option(&headers, "close") && !matches!(left, Left::UntilClose);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if is_old {
        *response.version_mut() = Version::HTTP_10;
    }
    // The usual one is written without being told.
    let own = parsed
        .reason
        .filter(|reason| status.canonical_reason() != Some(*reason));
    if let Some(Ok(own)) = own.map(|own| ReasonPhrase::try_from(own.as_bytes())) {
        response.extensions_mut().insert(own);
    }
    let head = Head {
        response,
        left,
        is_kept,
        spelling,
    };
    Ok(Taken::Whole(head, come.slice(length..)))
}

/// The fields of a head, which share its bytes.
fn read(
    head: &Bytes,
    fields: &[Header<'_>],
    asked: Asked,
) -> Result<(HeaderMap, Option<Spelling>), Malformed> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    let mut spelling = Spelling::default();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value));
        if asked.keeps_spelling {
            spelling.note(head, field.name, || headers.get_all(&name).iter().count());
        }
        headers.append(name, value.map_err(|_| Malformed)?);
    }
    Ok((headers, spelling.if_any()))
}

/// RFC 9112, section 6.3. Whether it is framed in one way only is judged elsewhere.
fn framing(
    status: StatusCode,
    headers: &HeaderMap,
    is_old: bool,
    asked: Asked,
) -> Result<Left, Malformed> {
    let is_bodiless = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || asked.is_head;
    if is_bodiless {
        return Ok(Left::Length(0));
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        // HTTP/1.0 has none.
        return if is_old {
            Err(Malformed)
        } else {
            Ok(Left::Chunked(Chunked::lenient()))
        };
    }
    match headers.get(CONTENT_LENGTH) {
        None => Ok(Left::UntilClose),
        Some(length) => {
            let length = length.to_str().ok().and_then(|length| length.parse().ok());
            length.map(Left::Length).ok_or(Malformed)
        }
    }
}

/// Bytes of a head.
pub(super) const MOST_HEAD: usize = 32 * 1024;
const MOST_FIELDS: usize = 100;
