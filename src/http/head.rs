//! Reading one complete HTTP/1 request head strictly (RFC 9112) before hyper sees a byte of it: what it asks, and how the body
//! behind it is framed. What could be read two ways is refused here.

use http::Uri;
use httparse::{EMPTY_HEADER, Error, Header, Request, Status};

use super::chunks::Chunks;
use crate::config::Limits;
use crate::failure::Reason;
use crate::headers;

/// How the body behind a head is framed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Framing {
    /// So many bytes, possibly none.
    Length(u64),
    /// Chunked.
    Chunked(Chunks),
}

/// A complete head at the front of the buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Its length in bytes, with the empty line.
    pub(crate) length: usize,
    /// What follows it.
    pub(crate) framing: Framing,
    /// Whether it matters to remember how its names are written.
    pub(crate) has_own_spelling: bool,
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
pub(crate) fn parse(bytes: &[u8], limits: HeadLimits) -> Result<Head, Reason> {
    let (mut usual, mut many) = ([EMPTY_HEADER; USUAL_FIELDS], Vec::new());
    let fields = if limits.fields > USUAL_FIELDS {
        many.resize(limits.fields, EMPTY_HEADER);
        &mut many[..]
    } else {
        &mut usual[..limits.fields]
    };
    let mut request = Request::new(fields);
    match request.parse(bytes) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Err(Error::TooManyHeaders) => return Err(Reason::TooManyFields),
        Ok(_) | Err(_) => return Err(Reason::BadRequest),
    }
    let (method, target) = (
        request.method.unwrap_or_default(),
        request.path.unwrap_or_default(),
    );
    if target.len() > limits.uri {
        return Err(Reason::UriTooLong);
    }
    if !is_target(method, target) {
        return Err(Reason::BadRequest);
    }
    let framing = framing(request.headers, request.version == Some(0))?;
    Ok(Head {
        length: bytes.len(),
        framing,
        has_own_spelling: headers::has_own_spelling(request.headers.iter().map(|field| field.name)),
    })
}

/// The forms of RFC 9112, section 3.2: a path; `http://…`; `*` for OPTIONS; an authority for CONNECT, which is refused
/// later with a better word.
fn is_target(method: &str, target: &str) -> bool {
    let is_form = match target.as_bytes() {
        [b'/', ..] => true,
        b"*" => method == "OPTIONS",
        _ => method == "CONNECT" || is_http(target),
    };
    // hyper would refuse what this refuses, but with an empty 400 and without a word to us.
    // A fragment never leaves a client, and `Uri` would drop it silently.
    is_form
        && !target.contains('#')
        && Uri::try_from(target)
            .is_ok_and(|uri| uri.scheme().is_none() || uri.authority().is_some())
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
            Framing::Chunked(Chunks::new())
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

/// The default of `--max-headers`, and hyper's own limit: for more, room has to be asked for.
pub(super) const USUAL_FIELDS: usize = 100;

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
        end.map(|end| parse(&bytes[..end], LIMITS)).transpose()
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
