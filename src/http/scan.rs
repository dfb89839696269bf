//! Finding the end of a head in bytes that come in any pieces, and giving up early on what cannot become one.

use super::head::HeadLimits;
use crate::failure::Reason;

/// Looks for the end of a head; remembers how far it looked, so that a head that trickles in costs its length once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    seen: usize,
    /// Where the current line starts.
    line: usize,
    /// Empty lines dropped from its front.
    skipped: u8,
}

impl Scan {
    /// RFC 9112, section 2.2 wants at least one CRLF before a head ignored, because old clients send one after a POST.
    /// Two are; more are malformed.
    pub(crate) fn may_skip_line(&self) -> bool {
        self.line == 0 && self.skipped < 2
    }

    /// An empty line was dropped from the front.
    pub(crate) fn skip_line(&mut self) {
        *self = Self {
            skipped: self.skipped + 1,
            ..Self::default()
        };
    }

    /// The length of the head when it is complete.
    ///
    /// A line that ends in a bare LF is malformed: RFC 9112 allows reading it as an end of line, and exactly that
    /// liberty is what request smuggling lives on.
    pub(crate) fn end(
        &mut self,
        bytes: &[u8],
        limits: HeadLimits,
    ) -> Result<Option<usize>, Reason> {
        // What cannot become a request need not be waited for. A lone CR may be the half of an empty line.
        if bytes.first().is_some_and(|first| !is_token(*first)) && bytes != b"\r" {
            return Err(Reason::BadRequest);
        }
        for offset in memchr::memchr_iter(b'\n', &bytes[self.seen..]) {
            let at = self.seen + offset;
            let is_empty = at == self.line + 1;
            if at == self.line || bytes[at - 1] != b'\r' || (is_empty && self.line == 0) {
                return Err(Reason::BadRequest);
            }
            if is_empty {
                return if at < limits.head {
                    Ok(Some(at + 1))
                } else {
                    Err(Reason::HeadTooLarge)
                };
            }
            if at >= limits.head {
                return Err(Reason::HeadTooLarge);
            }
            if self.line == 0 && at > limits.uri.saturating_add(LINE_REST) {
                return Err(Reason::UriTooLong);
            }
            if self.line == 0 && !is_request_line(&bytes[..at - 1]) {
                return Err(Reason::BadRequest);
            }
            self.line = at + 1;
        }
        self.seen = bytes.len();
        if self.line == 0 && bytes.len() > limits.uri.saturating_add(LINE_REST) {
            return Err(Reason::UriTooLong);
        }
        if bytes.len() > limits.head {
            Err(Reason::HeadTooLarge)
        } else {
            Ok(None)
        }
    }
}

/// Whether a line ends as a request line does; HTTP/0.9's does not, and no head would follow it.
fn is_request_line(line: &[u8]) -> bool {
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Room for the method and the version in a request line.
const LINE_REST: usize = 64;
