//! A record event as one line of JSON that no byte from a client can break.

use std::fmt::{self, Write as _};

use tracing::Event;
use tracing::field::{Field, Visit};

use super::keys::{Keys, Names};
use super::{LONGEST, cut};
use crate::records::class::Class;

/// Writes the event's fields as one JSON object, and tells how much it matters.
pub(in crate::records) fn format(event: &Event<'_>, keys: &mut Keys, out: &mut Vec<u8>) -> Class {
    let start = out.len();
    let mut visitor = Json {
        out,
        keys: keys.of(event.metadata()),
        class: Class::Audit,
    };
    event.record(&mut visitor);
    let class = visitor.class;
    // Each member has a comma in front of it; the first one's is where the object begins.
    match out.get_mut(start) {
        Some(first) => *first = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
    class
}

/// Writes fields as members of a JSON object.
struct Json<'a> {
    out: &'a mut Vec<u8>,
    keys: &'a Names,
    class: Class,
}

impl Json<'_> {
    fn key(&mut self, field: &Field) {
        self.out.extend_from_slice(&self.keys[field.index()]);
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
        if !quote_plain(self.out, value) {
            quote(self.out, &String::from_utf8_lossy(value));
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            // For those who carry the line, not for those who read it.
            "class" => self.class = Class::numbered(value),
            // None was sent: a reader can tell that from "no such field".
            "status" if value == 0 => {
                self.key(field);
                self.out.extend_from_slice(b"null");
            }
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
    if quote_plain(out, text.as_bytes()) {
        return;
    }
    out.push(b'"');
    let (text, rest) = cut(text);
    escape(out, text);
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// The same of what is written as it is; whether it was.
fn quote_plain(out: &mut Vec<u8>, text: &[u8]) -> bool {
    let is_whole = text.len() <= LONGEST && is_plain(text);
    if is_whole {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    }
    is_whole
}

/// Whether all of it is ASCII of which nothing is escaped: most texts are, and eight bytes are looked at together.
fn is_plain(text: &[u8]) -> bool {
    match text.last_chunk() {
        Some(last) => {
            let words = text.as_chunks().0.iter().chain([last]);
            let found = words.fold(0, |found, word| found | suspects(u64::from_ne_bytes(*word)));
            found == 0
        }
        None => text
            .iter()
            .all(|byte| byte.is_ascii() && !SUSPECT[usize::from(*byte)]),
    }
}

/// None only if each byte is plain. The top bit of one that is not is set; what it borrows or carries can only set others.
fn suspects(word: u64) -> u64 {
    let control = word.wrapping_sub(EACH * 0x20);
    let delete = word.wrapping_add(EACH);
    let quote = (word ^ (EACH * b'"' as u64)).wrapping_sub(EACH);
    let backslash = (word ^ (EACH * b'\\' as u64)).wrapping_sub(EACH);
    (word | control | delete | quote | backslash) & (EACH << 7)
}

/// One in each byte.
const EACH: u64 = u64::from_ne_bytes([1; 8]);

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
    fn what_is_taken_for_plain_is_what_is_escaped_to_itself() {
        for byte in 0..=u8::MAX {
            for (length, at) in (1..20).flat_map(|length| (0..length).map(move |at| (length, at))) {
                for filling in [b' ', b'~', b'0'] {
                    let mut bytes = vec![filling; length];
                    bytes[at] = byte;
                    let is_same = std::str::from_utf8(&bytes).is_ok_and(|text| {
                        let mut out = Vec::new();
                        escape(&mut out, text);
                        out == bytes
                    });
                    assert_eq!(is_plain(&bytes), is_same, "{byte} at {at} of {length}");
                }
            }
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
