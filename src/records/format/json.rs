//! A record event as one line of JSON that no byte from a client can break.

use std::fmt::{self, Write as _};

use tracing::Event;
use tracing::field::{Field, Visit};

use super::cut;
use crate::records::class::Class;

/// Writes the event's fields as one JSON object, and tells how much it matters.
pub(in crate::records) fn format(event: &Event<'_>, out: &mut Vec<u8>) -> Class {
    out.push(b'{');
    let mut visitor = Json {
        out,
        class: Class::Audit,
    };
    event.record(&mut visitor);
    let class = visitor.class;
    out.push(b'}');
    class
}

/// Writes fields as members of a JSON object. Field names are ours and need no escaping.
struct Json<'a> {
    out: &'a mut Vec<u8>,
    class: Class,
}

impl Json<'_> {
    fn key(&mut self, field: &Field) {
        self.out.reserve(field.name().len() + 4);
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(field.name().as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

impl Visit for Json<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.key(field);
        quote(self.out, value);
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.key(field);
        // JSON already, made by ourselves.
        if field.name() == "headers" {
            return self.out.extend_from_slice(value);
        }
        match std::str::from_utf8(value) {
            Ok(text) => quote(self.out, text),
            Err(_) => quote(self.out, &String::from_utf8_lossy(value)),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            // For those who carry the line, not for those who read it.
            "class" => self.class = Class::numbered(value),
            // None was sent: a reader can tell that from "no such field".
            "status" if value == 0 => self.out.extend_from_slice(b",\"status\":null"),
            _ => {
                self.key(field);
                number(self.out, value);
            }
        }
    }

    /// A duration in microseconds, written as milliseconds: no other field is signed.
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.key(field);
        let micros = value.unsigned_abs();
        number(self.out, micros / 1000);
        let rest = micros % 1000;
        let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
        self.out
            .extend_from_slice(&[b'.', digits[0], digits[1], digits[2]]);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.key(field);
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.key(field);
        self.out.push(b'"');
        // Writing to a Vec cannot fail, here and below.
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

/// A JSON string of the beginning of `text`.
pub(in crate::records) fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let (text, rest) = cut(text);
    escape(out, text);
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// RFC 8259, section 7; runs of plain bytes are copied whole. DEL and the C1 range are escaped as well: a terminal
/// would obey them.
fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| SUSPECT[usize::from(byte)]) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut letters = from.chars();
        // The split is at the first byte of a character, because no suspect is a later one.
        let letter = letters.next().unwrap_or_default();
        escape_one(out, letter);
        rest = letters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Bytes to escape, and those that may be the first of a letter to escape: the C1 range begins with 0xc2 in UTF-8.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut byte = 0;
    while byte < suspect.len() {
        suspect[byte] = byte < 0x20 || matches!(byte as u8, b'"' | b'\\' | 0x7f | 0xc2);
        byte += 1;
    }
    suspect
};

fn escape_one(out: &mut Vec<u8>, letter: char) {
    // Writing to a Vec cannot fail.
    let _ = match letter {
        '"' => write!(Text(out), "\\\""),
        '\\' => write!(Text(out), "\\\\"),
        '\n' => write!(Text(out), "\\n"),
        '\r' => write!(Text(out), "\\r"),
        '\t' => write!(Text(out), "\\t"),
        letter if letter.is_control() => write!(Text(out), "\\u{:04x}", u32::from(letter)),
        letter => write!(Text(out), "{letter}"),
    };
}

/// Decimal digits.
fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::format::LONGEST;

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
