//! Reading one complete HTTP/1 request head strictly (RFC 9112): what it asks, and how the body
//! behind it is framed. What could be read two ways is refused here.

use bytes::Bytes;
use http::uri::Uri;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use httparse::{EMPTY_HEADER, Error, Header, Status};

use crate::config::Limits;
use crate::failure::Reason;
use crate::headers::{Spelling, has_option, has_own_spelling};

/// How the body behind a head is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes, possibly none.
    Length(u64),
    /// Chunked.
    Chunked,
}

/// A complete head.
#[derive(Debug)]
pub(crate) struct Head {
    /// What it asks. Its values share the bytes of the head.
    pub(crate) request: Request<()>,
    /// What follows it.
    pub(crate) framing: Framing,
    /// How its names are written, where it matters to remember that.
    pub(crate) spelling: Option<Spelling>,
    /// The client means to send another request on the connection.
    pub(crate) is_kept: bool,
}

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub(crate) head: usize,
    pub(crate) uri: usize,
    pub(crate) fields: usize,
}

impl From<&Limits> for HeadLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            head: limits.max_head,
            uri: limits.max_uri,
            fields: limits.max_headers,
        }
    }
}

/// Parses a complete head.
pub(crate) fn parse(bytes: &Bytes, limits: HeadLimits) -> Result<Head, Reason> {
    let (mut usual, mut many) = ([EMPTY_HEADER; USUAL_FIELDS], Vec::new());
    let fields = if limits.fields > USUAL_FIELDS {
        many.resize(limits.fields, EMPTY_HEADER);
        &mut many[..]
    } else {
        &mut usual[..limits.fields]
    };
    let mut parsed = httparse::Request::new(fields);
    match parsed.parse(bytes) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Err(Error::TooManyHeaders) => return Err(Reason::TooManyFields),
        Ok(_) | Err(_) => return Err(Reason::BadRequest),
    }
    let target = parsed.path.unwrap_or_default();
    if target.len() > limits.uri {
        return Err(Reason::UriTooLong);
    }
    let is_old = parsed.version == Some(0);
    let framing = framing(parsed.headers, is_old)?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| Reason::BadRequest)?;
    *request.uri_mut() = uri(request.method(), target, bytes).ok_or(Reason::BadRequest)?;
    *request.headers_mut() = read(parsed.headers, bytes).ok_or(Reason::BadRequest)?;
    if is_old {
        *request.version_mut() = Version::HTTP_10;
    }
    let names = parsed.headers.iter().map(|field| field.name);
    let fields = request.headers();
    Ok(Head {
        framing,
        spelling: has_own_spelling(names).then(|| Spelling::of_request(bytes)),
        is_kept: !has_option(fields, "close") && (!is_old || has_option(fields, "keep-alive")),
        request,
    })
}

/// The fields of a head, which share its bytes.
fn read(fields: &[Header<'_>], head: &Bytes) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(fields.len() + OURS);
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value)).ok()?;
        headers.try_append(name, value).ok()?;
    }
    Some(headers)
}

/// The forms of RFC 9112, section 3.2: a path; `http://…`; `*` for OPTIONS; an authority for CONNECT, which is refused
/// later with a better word.
fn uri(method: &Method, target: &str, head: &Bytes) -> Option<Uri> {
    let is_form = match target.as_bytes() {
        [b'/', ..] => true,
        b"*" => method == Method::OPTIONS,
        _ => method == Method::CONNECT || is_http(target),
    };
    // A fragment never leaves a client, and `Uri` would drop it silently.
    if !is_form || target.contains('#') {
        return None;
    }
    let uri = Uri::from_maybe_shared(head.slice_ref(target.as_bytes())).ok()?;
    (uri.scheme().is_none() || uri.authority().is_some()).then_some(uri)
}

/// RFC 9112, section 3.2.2. Other schemes are no business of ours.
fn is_http(target: &str) -> bool {
    let scheme = target.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    })
}

/// RFC 9112, section 6.3, without its liberties: both lengths, two lengths, or any transfer coding but one `chunked`
/// are refused, and so is a transfer coding in HTTP/1.0.
fn framing(fields: &[Header<'_>], is_http10: bool) -> Result<Framing, Reason> {
    let values = |name: &'static str| {
        fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    };
    let (mut lengths, mut codings) = (values("content-length"), values("transfer-encoding"));
    let framing = match (lengths.next(), codings.next()) {
        (None, None) => Framing::Length(0),
        (Some(length), None) => Framing::Length(content_length(length).ok_or(Reason::BadRequest)?),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") && !is_http10 => {
            Framing::Chunked
        }
        _ => return Err(Reason::BadRequest),
    };
    if lengths.next().is_some() || codings.next().is_some() {
        return Err(Reason::BadRequest);
    }
    Ok(framing)
}

/// Digits only, no leading zero, below 2^63: `+3`, `3, 3` and `0003` are somebody's trick.
pub(crate) fn content_length(value: &[u8]) -> Option<u64> {
    let plain = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if !plain || (value[0] == b'0' && value.len() > 1) {
        return None;
    }
    let length: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (length <= i64::MAX as u64).then_some(length)
}

/// The default of `--max-headers`: for more, room has to be asked for.
const USUAL_FIELDS: usize = 100;
/// Fields that a request is given on its way to the application. A map that grows is built anew.
const OURS: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::scan::Scan;
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        head: 1000,
        uri: 200,
        fields: 100,
    };

    fn read(bytes: &[u8]) -> Result<Option<Head>, Reason> {
        let end = Scan::default().end(bytes, LIMITS)?;
        let head = |end| parse(&Bytes::copy_from_slice(&bytes[..end]), LIMITS);
        end.map(head).transpose()
    }

    #[test]
    fn a_head_is_found_however_it_arrives() {
        let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        for split in 1..bytes.len() {
            let mut scan = Scan::default();
            let end = scan.end(&bytes[..split], LIMITS).unwrap();
            let end = end.or_else(|| scan.end(bytes, LIMITS).unwrap());
            assert_eq!(end, Some(bytes.len() - 3), "split at {split}");
        }
        assert!(matches!(
            read(bytes),
            Ok(Some(Head {
                framing: Framing::Length(3),
                ..
            }))
        ));
    }

    #[test]
    fn framing_that_could_be_read_two_ways_is_refused() {
        for fields in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 4",
            "Content-Length: 3, 3",
            "Content-Length: +3",
            "Content-Length: -3",
            "Content-Length: 0x3",
            "Content-Length: 0003",
            "Content-Length: ",
            "Content-Length: 1 3",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: ,chunked",
            "Transfer-Encoding: chunked;q=1",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding : chunked",
            "Content-Length : 3",
            "X: a\r\n b",
            " X: a",
            "no colon",
            ": empty",
            "X: \x00",
            "X: a\rb",
        ] {
            let bytes = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            assert_eq!(
                read(bytes.as_bytes()).map(drop),
                Err(Reason::BadRequest),
                "{fields:?}"
            );
        }
        let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(read(old).map(drop), Err(Reason::BadRequest));
    }

    #[test]
    fn lines_that_end_in_a_bare_lf_are_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\nHost: a\n\n"[..],
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"\n",
        ] {
            assert_eq!(read(bytes).map(drop), Err(Reason::BadRequest));
        }
    }

    #[test]
    fn heads_and_targets_have_limits() {
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200));
        assert_eq!(read(long.as_bytes()).map(drop), Err(Reason::UriTooLong));
        let endless = format!("GET /{}", "x".repeat(500));
        assert_eq!(read(endless.as_bytes()).map(drop), Err(Reason::UriTooLong));
        let large = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(1000));
        assert_eq!(read(large.as_bytes()).map(drop), Err(Reason::HeadTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
        assert_eq!(read(many.as_bytes()).map(drop), Err(Reason::TooManyFields));
    }
}
