//! A second reader of HTTP/1 requests, written from the grammar of RFC 9112 and RFC 9110 and not from ours: it has all of
//! the input at once, and keeps no state but where it is.
//!
//! It is strict where RFC 9112 leaves a choice that two parsers may make differently: no bare CR or LF ends a line, no
//! line is folded, a body is framed by exactly one field. Limits are the framer's.

use std::ops::Range;

use portcullis::fuzzing::{BodyFraming, MAX_HEAD, MAX_URI};

/// A message whose head is well-formed.
#[derive(Debug)]
pub struct Message {
    /// Where its head is, with the empty line.
    pub head: Range<usize>,
    pub framing: BodyFraming,
    /// Its body, out of its frame; where that is malformed or does not end, as far as there is one.
    pub data: Vec<u8>,
    /// Where it ends; None where the body is malformed or does not end.
    pub end: Option<usize>,
    /// Whether the framer has to let it through, too; see [`is_demanded`].
    pub is_demanded: bool,
}

/// The messages of a connection, up to one that is not whole.
pub fn parse(input: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut at = 0;
    loop {
        let start = at + empty_lines(&input[at..]);
        let Some(head) = head(&input[start..]) else {
            return messages;
        };
        let body = start + head.length;
        let mut data = Vec::new();
        let length = match head.framing {
            BodyFraming::Length(length) => known(&input[body..], length, &mut data),
            BodyFraming::Chunked => chunked(&input[body..], &mut data),
        };
        let end = length.map(|length| body + length);
        messages.push(Message {
            head: start..body,
            framing: head.framing,
            data,
            end,
            is_demanded: head.is_demanded,
        });
        match end {
            Some(end) => at = end,
            None => return messages,
        }
    }
}

/// The length of the empty lines before a head (RFC 9112, section 2.2): at most two.
pub fn empty_lines(input: &[u8]) -> usize {
    let lines = input.chunks(2).take(2);
    2 * lines.take_while(|line| *line == b"\r\n").count()
}

struct Head {
    length: usize,
    framing: BodyFraming,
    is_demanded: bool,
}

/// HTTP-message = start-line CRLF *( field-line CRLF ) CRLF
fn head(input: &[u8]) -> Option<Head> {
    let mut rest = input;
    let request_line = next_line(&mut rest)?;
    let mut words = request_line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_http11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return None,
    };
    if words.next().is_some() || !is_token(method) || !is_target(method, target) {
        return None;
    }
    let mut fields = Vec::new();
    loop {
        match next_line(&mut rest)? {
            b"" => break,
            line => fields.push(field(line)?),
        }
    }
    let length = input.len() - rest.len();
    // A missing or second Host is refused later, by who knows what the authority is for.
    if length > MAX_HEAD || target.len() > MAX_URI || fields.len() > MOST_FIELDS {
        return None;
    }
    Some(Head {
        length,
        framing: framing(&fields, is_http11)?,
        is_demanded: is_demanded(method, target, request_line),
    })
}

/// What ends in CRLF, with neither of the two in it.
fn next_line<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bytes = *input;
    let end = bytes.iter().position(|byte| b"\r\n".contains(byte))?;
    let (line, rest) = bytes.split_at(end);
    *input = rest.strip_prefix(b"\r\n")?;
    Some(line)
}

/// field-line = field-name ":" OWS field-value OWS
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // No control character but tab is text, so this takes off spaces and tabs only.
    (is_token(name) && is_text(value)).then(|| (name, value.trim_ascii()))
}

/// RFC 9112, section 6.3, and only where there are no two answers.
fn framing(fields: &[(&[u8], &[u8])], is_http11: bool) -> Option<BodyFraming> {
    let all = |wanted: &str| -> Vec<&[u8]> {
        let found = fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        found.map(|(_, value)| *value).collect()
    };
    match (&all("Content-Length")[..], &all("Transfer-Encoding")[..]) {
        ([], []) => Some(BodyFraming::Length(0)),
        ([length], []) => {
            let digits = std::str::from_utf8(length).ok()?;
            let value: u64 = digits.parse().ok()?;
            // Written as we would write it: no sign, no zero in front. And below 2^63.
            (value.to_string() == digits && value < 1 << 63).then_some(BodyFraming::Length(value))
        }
        ([], [coding]) if is_http11 && coding.eq_ignore_ascii_case(b"chunked") => {
            Some(BodyFraming::Chunked)
        }
        _ => None,
    }
}

/// RFC 9112, section 3.2, as far as it tells one form from another. What stands in an absolute or an authority form is
/// left to who reads it: any bytes that are no space and no control character.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    let is_form = match target {
        [b'/', ..] => true,
        b"*" => method == b"OPTIONS",
        _ => method == b"CONNECT" || is_absolute_form(target),
    };
    let is_plain = |byte: &u8| !byte.is_ascii_control() && !b" #".contains(byte);
    is_form && !target.is_empty() && target.iter().all(is_plain)
}

/// RFC 9112, section 3.2.2, of the schemes of RFC 9110, section 4.2.
fn is_absolute_form(target: &[u8]) -> bool {
    let begins = |scheme: &[u8]| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    begins(b"http://") || begins(b"https://")
}

/// Whether the framer has to let this through. It may refuse more than the grammar does here, and here only:
/// - targets that `http::Uri` does not read: of the origin form only those are demanded that RFC 3986 allows, and none of
///   the absolute and the authority form;
/// - request lines that are longer than the longest target and 64 bytes, whatever in it is long.
fn is_demanded(method: &[u8], target: &[u8], request_line: &[u8]) -> bool {
    let is_known = match target {
        b"*" => method == b"OPTIONS",
        _ => is_origin_form(target),
    };
    is_known && request_line.len() < MAX_URI + LINE_REST
}

/// origin-form = absolute-path [ "?" query ], by RFC 3986.
fn is_origin_form(target: &[u8]) -> bool {
    let is_pchar = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
    let mut rest = target;
    while let [first, more @ ..] = rest {
        rest = match (*first, more) {
            (b'%', [a, b, more @ ..]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => more,
            // A second `?` may stand in a query, and so may `/`.
            (b'/' | b'?', _) => more,
            (byte, _) if is_pchar(byte) => more,
            _ => return false,
        };
    }
    target.starts_with(b"/")
}

/// The length of a body that says it.
fn known(input: &[u8], length: u64, data: &mut Vec<u8>) -> Option<usize> {
    let length = usize::try_from(length).ok()?;
    data.extend_from_slice(&input[..length.min(input.len())]);
    (length <= input.len()).then_some(length)
}

/// The length of a chunked-body = *chunk last-chunk trailer-section CRLF
///
/// What an extension says is not looked at, only that it is text; a trailer is a field, and what it says is text.
fn chunked(input: &[u8], data: &mut Vec<u8>) -> Option<usize> {
    let mut rest = input;
    let (mut overhead, mut trailers) = (0, 0);
    loop {
        let line = next_line(&mut rest)?;
        let digits = line.split(|byte| *byte == b';').next()?;
        // Without the first semicolon.
        let extensions = line.get(digits.len() + 1..).unwrap_or_default();
        let is_size = digits.iter().all(u8::is_ascii_hexdigit) && digits.len() <= MOST_DIGITS;
        if !is_size || !is_text(extensions) {
            return None;
        }
        overhead += extensions.len();
        // No digits are no number.
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        data.extend_from_slice(&rest[..size.min(rest.len())]);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        match next_line(&mut rest)? {
            b"" => break,
            line => {
                let colon = line.iter().position(|byte| *byte == b':')?;
                if !is_token(&line[..colon]) || !is_text(&line[colon..]) {
                    return None;
                }
                overhead += line.len();
                trailers += 1;
            }
        }
    }
    let is_bounded = overhead <= MOST_OVERHEAD && trailers <= MOST_TRAILERS;
    is_bounded.then(|| input.len() - rest.len())
}

/// RFC 9110, section 5.6.2: token = 1*tchar
fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

/// RFC 9110, section 5.5: HTAB, SP, VCHAR and obs-text.
fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

const MOST_FIELDS: usize = 100;
/// Of a chunk's size.
const MOST_DIGITS: usize = 15;
/// Bytes of extensions and trailers in one body.
const MOST_OVERHEAD: usize = 15 * 1024;
const MOST_TRAILERS: usize = 100;
/// What the framer leaves a request line beside the longest target.
pub const LINE_REST: usize = 64;
