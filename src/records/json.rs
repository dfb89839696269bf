//! A record event as one line of JSON that no byte from a client can break.

use std::fmt::{self, Write as _};

use tracing::Event;
use tracing::field::{Field, Visit};

/// Writes the event's fields as one JSON object.
pub(super) fn format(event: &Event<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut visitor = Json {
        out,
        has_status: false,
        wants_status: false,
    };
    event.record(&mut visitor);
    visitor.end();
    out.push(b'}');
}

/// Writes fields as members of a JSON object. Field names are ours and need no escaping.
struct Json<'a> {
    out: &'a mut Vec<u8>,
    has_status: bool,
    wants_status: bool,
}

impl Json<'_> {
    fn key(&mut self, field: &Field) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(field.name().as_bytes());
        self.out.extend_from_slice(b"\":");
        self.has_status |= field.name() == "status";
        self.wants_status |= field.name() == "method" || field.name() == "duration_ms";
    }

    /// `status` is null where none was sent, so that a reader can tell "none" from "no such field".
    fn end(&mut self) {
        if self.wants_status && !self.has_status {
            self.out.extend_from_slice(b",\"status\":null");
        }
    }
}

impl Visit for Json<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.key(field);
        quote(self.out, value);
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.key(field);
        quote(self.out, &String::from_utf8_lossy(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.key(field);
        // Writing to a Vec cannot fail, here and below.
        let _ = write!(Text(self.out), "{value}");
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.key(field);
        let _ = write!(Text(self.out), "{value}");
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.key(field);
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.key(field);
        let _ = write!(Text(self.out), "{value:.3}");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.key(field);
        self.out.push(b'"');
        let _ = write!(Escaped(self.out), "{value:?}");
        self.out.push(b'"');
    }
}

/// Plain text, known to need no escaping.
struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Text escaped as the inside of a JSON string.
struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

/// A JSON string of at most [`LONGEST`] bytes of `text`.
fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    match text.len() {
        ..=LONGEST => escape(out, text),
        _ => {
            escape(out, &text[..text.floor_char_boundary(LONGEST)]);
            out.extend_from_slice("…".as_bytes());
        }
    }
    out.push(b'"');
}

/// RFC 8259, section 7; runs of plain bytes are copied whole. DEL and the C1 range are escaped as well: a terminal
/// would obey them.
fn escape(out: &mut Vec<u8>, text: &str) {
    let mut plain = 0;
    for (at, letter) in text.char_indices() {
        let short = match letter {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            letter if letter.is_control() => "",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        out.extend_from_slice(short.as_bytes());
        if short.is_empty() {
            let _ = write!(Text(out), "\\u{:04x}", u32::from(letter));
        }
        plain = at + letter.len_utf8();
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
}

/// Bytes of one text in a record: a path or a user agent may be longer than anybody wants to keep.
const LONGEST: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_break_a_line() {
        for text in [
            "plain",
            "\"},{\"",
            "a\nb\r\n",
            "\u{0}\u{1b}[31m\u{7f}\u{9b}",
            "\\u0000",
            "ünï 🦀",
            "\u{2028}",
        ] {
            let mut out = Vec::new();
            quote(&mut out, text);
            assert!(!out.iter().any(|byte| byte.is_ascii_control()), "{text:?}");
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let mut out = Vec::new();
        quote(&mut out, &"é".repeat(LONGEST));
        let text: String = serde_json::from_slice(&out).unwrap();
        assert_eq!(text.chars().count(), LONGEST / 2 + 1);
    }
}
