//! Where a chunked body ends (RFC 9112, section 7.1), byte by byte and strictly: CRLF only, hexadecimal digits only, no
//! more than a line's worth of extensions and a head's worth of trailers. Nothing is decoded or copied here.

use super::scan::is_token;

/// The scanner's place in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the digits of a chunk's size.
    Size { digits: u8 },
    /// In blanks behind the digits, which some applications pad them with.
    Blank,
    /// In a chunk extension.
    Extension,
    /// After the CR that ends a chunk's size line.
    SizeEnd,
    /// In a chunk's data.
    Data,
    /// Before the CR after a chunk's data.
    DataCr,
    /// Before the LF after a chunk's data.
    DataLf,
    /// At the start of a trailer line.
    TrailerStart,
    /// In the name of a trailer.
    TrailerName,
    /// In its value.
    Trailer,
    /// After the CR of a trailer line.
    TrailerLf,
    /// After the CR of the empty line that ends it all.
    LastLf,
    /// After the body.
    Done,
}

/// Finds the end of a chunked body in bytes that come in any pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks {
    place: Place,
    /// Bytes left in this chunk; its size while that is being read.
    left: u64,
    /// Bytes of extensions and trailers seen so far.
    overhead: u32,
    /// Trailers seen so far.
    trailers: u8,
    /// Sizes may be padded.
    is_lenient: bool,
}

/// The body is not framed as RFC 9112 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Chunks {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Size { digits: 0 },
            left: 0,
            overhead: 0,
            trailers: 0,
            is_lenient: false,
        }
    }

    /// For what applications send: sizes may have blanks behind them and any number of zeros before. There is only one way to
    /// read that.
    pub(super) fn lenient() -> Self {
        Self {
            is_lenient: true,
            ..Self::new()
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.place == Place::Done
    }

    /// How many of so many bytes are data; none where a line, or a part of one, comes first.
    pub(super) fn data(&mut self, most: usize) -> usize {
        if self.place != Place::Data {
            return 0;
        }
        let step = self.left.min(most as u64);
        self.left -= step;
        if self.left == 0 {
            self.place = Place::DataCr;
        }
        step as usize
    }

    /// Whether the next byte is one of data.
    pub(super) fn is_in_data(&self) -> bool {
        self.place == Place::Data
    }

    /// Whether the next byte belongs to the trailers, or to the empty line behind them.
    pub(super) fn is_in_trailers(&self) -> bool {
        matches!(
            self.place,
            Place::TrailerStart
                | Place::TrailerName
                | Place::Trailer
                | Place::TrailerLf
                | Place::LastLf
        )
    }

    /// The next byte, which is no data.
    pub(super) fn step(&mut self, byte: u8) -> Result<(), Broken> {
        self.place = match (self.place, byte) {
            (Place::Size { digits }, _) if byte.is_ascii_hexdigit() => self.digit(digits, byte)?,
            (Place::Size { digits: 1.. } | Place::Blank, b'\r') => Place::SizeEnd,
            (Place::Size { digits: 1.. } | Place::Blank, b';') => Place::Extension,
            (Place::Size { digits: 1.. } | Place::Blank, b' ' | b'\t') if self.is_lenient => {
                Place::Blank
            }
            (Place::Extension, b'\r') => Place::SizeEnd,
            (Place::Extension, _) if is_text(byte) => self.spend(Place::Extension)?,
            (Place::SizeEnd, b'\n') if self.left == 0 => Place::TrailerStart,
            (Place::SizeEnd, b'\n') => Place::Data,
            (Place::DataCr, b'\r') => Place::DataLf,
            (Place::DataLf, b'\n') => Place::Size { digits: 0 },
            (Place::TrailerStart, b'\r') => Place::LastLf,
            (Place::TrailerStart, _) if is_token(byte) => self.trailer()?,
            (Place::TrailerName, _) if is_token(byte) => self.spend(Place::TrailerName)?,
            (Place::TrailerName, b':') => self.spend(Place::Trailer)?,
            (Place::Trailer, _) if is_text(byte) => self.spend(Place::Trailer)?,
            (Place::Trailer, b'\r') => Place::TrailerLf,
            (Place::TrailerLf, b'\n') => Place::TrailerStart,
            (Place::LastLf, b'\n') => Place::Done,
            _ => return Err(Broken),
        };
        Ok(())
    }

    fn digit(&mut self, digits: u8, byte: u8) -> Result<Place, Broken> {
        if self.is_lenient && digits == 1 && self.left == 0 {
            // The zero before it says nothing.
            return self.digit(0, byte);
        }
        if digits == MAX_DIGITS {
            return Err(Broken);
        }
        let value = char::from(byte).to_digit(16).ok_or(Broken)?;
        // The first digit starts a new size: the old chunk's count has run down to 0.
        self.left = self.left << 4 | u64::from(value);
        Ok(Place::Size { digits: digits + 1 })
    }

    fn trailer(&mut self) -> Result<Place, Broken> {
        if self.trailers == MAX_TRAILERS {
            return Err(Broken);
        }
        self.trailers += 1;
        self.spend(Place::TrailerName)
    }

    fn spend(&mut self, place: Place) -> Result<Place, Broken> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD {
            Err(Broken)
        } else {
            Ok(place)
        }
    }
}

/// Field content as RFC 9110, section 5.5 allows it: no control character but tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Fifteen digits are more than any body has, and fit 64 bits with room to spare.
const MAX_DIGITS: u8 = 15;
/// Bytes of extensions and trailers in one body.
const MAX_OVERHEAD: u32 = 15 * 1024;
/// Trailers of one body.
const MAX_TRAILERS: u8 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `bytes` belong to this body.
    fn advance(chunks: &mut Chunks, bytes: &[u8]) -> Result<usize, Broken> {
        let mut at = 0;
        while at < bytes.len() && !chunks.is_done() {
            match chunks.data(bytes.len() - at) {
                0 => {
                    chunks.step(bytes[at])?;
                    at += 1;
                }
                step => at += step,
            }
        }
        Ok(at)
    }

    fn scan(bytes: &[u8], piece: usize) -> Result<(usize, bool), Broken> {
        let mut chunks = Chunks::new();
        let mut used = 0;
        for part in bytes.chunks(piece) {
            used += advance(&mut chunks, part)?;
            if chunks.is_done() {
                break;
            }
        }
        Ok((used, chunks.is_done()))
    }

    #[test]
    fn the_end_is_found_however_the_bytes_arrive() {
        let body = b"5\r\nhello\r\n1a;x=\"y\"\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\n\r\n";
        let mut bytes = body.to_vec();
        bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
        for piece in 1..bytes.len() {
            assert_eq!(
                scan(&bytes, piece),
                Ok((body.len(), true)),
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn what_can_be_read_two_ways_is_broken() {
        for bytes in [
            &b"0x5\r\n"[..],
            b"+5\r\n",
            b"-5\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"\r\n",
            b"5\n",
            b";a\r\n",
            b"5;a\nb\r\n",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello\n",
            b"1000000000000000\r\n",
            b"0\r\n A: b\r\n",
            b"0\r\nA : b\r\n",
            b"0\r\nno colon\r\n",
            b"0\r\nGET /smuggled HTTP/1.1\r\n",
            b"0\r\n: b\r\n",
            b"0\r\n\xc3\xa4: b\r\n",
            b"0\r\nA\r\n",
            b"0\r\nA\nB\r\n",
            b"0\r\nA: \x00\r\n",
            b"5\rX",
        ] {
            assert_eq!(
                scan(bytes, bytes.len()),
                Err(Broken),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let long = format!("5;{}\r\n", "x".repeat(20_000));
        assert_eq!(scan(long.as_bytes(), 1000), Err(Broken));
        let many = format!("0\r\n{}", "A: b\r\n".repeat(10_000));
        assert_eq!(scan(many.as_bytes(), 1000), Err(Broken));
        for (count, wanted) in [(100, Ok(true)), (101, Err(Broken))] {
            let some = format!("0\r\n{}\r\n", "A: b\r\n".repeat(count));
            let whole = scan(some.as_bytes(), 1000).map(|(_, whole)| whole);
            assert_eq!(whole, wanted, "{count}");
        }
    }
}
