//! The ids of traces and spans: made, read and written.

use super::span::{SpanId, TraceId};

impl TraceId {
    /// Of a trace that begins here. Its bits only have to differ, not to be secret.
    pub(super) fn new() -> Self {
        Self {
            bytes: fastrand::u128(1..).to_be_bytes(),
            is_short: false,
        }
    }

    /// 32 lower-case hex digits, or 16, but not all zeros.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        let is_short = text.len() == 16;
        let start = if is_short { 8 } else { 0 };
        unhex(text, &mut bytes[start..])?;
        (bytes != [0; 16]).then_some(Self { bytes, is_short })
    }

    /// 32 hex digits.
    pub(crate) fn hex(&self) -> [u8; 32] {
        hex(self.bytes)
    }

    /// As many hex digits as it came with.
    pub(crate) fn hex_as_it_came<'a>(&self, buffer: &'a mut [u8; 32]) -> &'a str {
        *buffer = self.hex();
        let start = if self.is_short { 16 } else { 0 };
        text(&buffer[start..])
    }
}

impl SpanId {
    pub(super) fn new() -> Self {
        Self(fastrand::u64(1..).to_be_bytes())
    }

    /// 16 lower-case hex digits, but not all zeros.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 8];
        unhex(text, &mut bytes)?;
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// 16 hex digits.
    pub(crate) fn hex(self) -> [u8; 16] {
        hex(self.0)
    }
}

/// Hex digits as text.
pub(crate) fn text(digits: &[u8]) -> &str {
    // They are ASCII.
    std::str::from_utf8(digits).unwrap_or_default()
}

fn hex<const BYTES: usize, const DIGITS: usize>(bytes: [u8; BYTES]) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGIT[usize::from(byte >> 4)];
        pair[1] = DIGIT[usize::from(byte & 15)];
    }
    digits
}

/// Lower case alone, as both W3C Trace Context and B3 write it; and exactly as many as there is room for.
pub(super) fn unhex(text: &[u8], into: &mut [u8]) -> Option<()> {
    if text.len() != 2 * into.len() {
        return None;
    }
    for (byte, pair) in into.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

const DIGIT: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_it_was_read() {
        let long = "4bf92f3577b34da6a3ce929d0e0e4736";
        let short = "a3ce929d0e0e4736";
        let mut buffer = [0; 32];
        for given in [long, short] {
            let id = TraceId::read(given.as_bytes()).unwrap();
            assert_eq!(id.hex_as_it_came(&mut buffer), given);
        }
        let id = TraceId::read(short.as_bytes()).unwrap();
        assert_eq!(text(&id.hex()), format!("0000000000000000{short}"));
        let id = SpanId::read(short.as_bytes()).unwrap();
        assert_eq!(text(&id.hex()), short);
    }

    #[test]
    fn what_is_no_id_is_none() {
        for bad in [
            "",
            "0",
            "0000000000000000",
            "00000000000000000000000000000000",
            "4BF92F3577B34DA6A3CE929D0E0E4736",
            "4bf92f3577b34da6a3ce929d0e0e473",
            "4bf92f3577b34da6a3ce929d0e0e47366",
            "4bf92f3577b34da6a3ce929d0e0e473g",
        ] {
            assert_eq!(TraceId::read(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(SpanId::read(b"0000000000000000"), None);
        assert_eq!(SpanId::read(b"00f067aa0ba902b"), None);
    }
}
