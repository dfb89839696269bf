//! Decoding a chunked body (RFC 9112, section 7.1): its data are handed on as they lie in what was read.

use std::io;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use httparse::{EMPTY_HEADER, Status};

use super::chunks::Chunks;

/// A chunked body that is being read.
#[derive(Debug)]
pub(crate) struct Chunked {
    chunks: Chunks,
    /// The lines behind the last chunk, so far.
    trailers: Vec<u8>,
}

impl Chunked {
    /// As clients send it.
    pub(super) fn strict() -> Self {
        Self::of(Chunks::new())
    }

    /// As applications do.
    pub(crate) fn lenient() -> Self {
        Self::of(Chunks::lenient())
    }

    fn of(chunks: Chunks) -> Self {
        Self {
            chunks,
            trailers: Vec::new(),
        }
    }

    /// Whether all of it was read and handed on.
    pub(crate) fn is_over(&self) -> bool {
        self.chunks.is_done() && self.trailers.is_empty()
    }

    /// The next part of the body in what has come; none when more must come, or all is over.
    pub(crate) fn next(&mut self, come: &mut Bytes) -> io::Result<Option<Frame<Bytes>>> {
        self.read_lines(come)?;
        let count = self.chunks.data(come.len());
        if count > 0 {
            let data = come.split_to(count);
            // Whether these data were the last is known from what comes behind them.
            self.read_lines(come)?;
            return Ok(Some(Frame::data(data)));
        }
        if !self.chunks.is_done() || self.trailers.is_empty() {
            return Ok(None);
        }
        let trailers = parse(&self.trailers)?;
        self.trailers.clear();
        Ok(Some(Frame::trailers(trailers)))
    }

    /// Reads on to where data begin.
    fn read_lines(&mut self, come: &mut Bytes) -> io::Result<()> {
        let mut read = 0;
        for byte in come.iter() {
            if self.chunks.is_done() || self.chunks.is_in_data() {
                break;
            }
            if self.chunks.is_in_trailers() {
                self.trailers.push(*byte);
            }
            self.chunks.step(*byte).map_err(|_| broken())?;
            read += 1;
        }
        come.advance(read);
        if self.chunks.is_done() && self.trailers == b"\r\n" {
            self.trailers.clear();
        }
        Ok(())
    }
}

fn parse(lines: &[u8]) -> io::Result<HeaderMap> {
    let mut fields = [EMPTY_HEADER; MOST_TRAILERS];
    let Ok(Status::Complete((_, fields))) = httparse::parse_headers(lines, &mut fields) else {
        return Err(broken());
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| broken())?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| broken())?;
        trailers.append(name, value);
    }
    Ok(trailers)
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a chunk is not framed as it should be",
    )
}

/// As many as [`Chunks`] lets through.
const MOST_TRAILERS: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert_eq, proptest};
    use proptest::sample::select;

    use super::*;

    /// What comes out of a body that comes in pieces of this size: data, trailers, and what was left over.
    fn read(body: &[u8], piece: usize) -> io::Result<(Vec<u8>, HeaderMap, Vec<u8>)> {
        let (mut chunked, mut data, mut trailers) =
            (Chunked::lenient(), Vec::new(), HeaderMap::new());
        let mut left = Vec::new();
        for part in body.chunks(piece) {
            let mut part = Bytes::copy_from_slice(part);
            while let Some(frame) = chunked.next(&mut part)? {
                match frame.into_data() {
                    Ok(piece) => data.extend_from_slice(&piece),
                    Err(frame) => trailers = frame.into_trailers().unwrap(),
                }
            }
            assert!(part.is_empty() || chunked.is_over());
            left.extend_from_slice(&part);
        }
        if chunked.is_over() {
            Ok((data, trailers, left))
        } else {
            Err(broken())
        }
    }

    #[test]
    fn data_and_trailers_come_out_however_the_bytes_arrive() {
        let body = b"5\r\nhello\r\n0006;x=\"y\"\r\n world\r\n0\r\nA: b\r\nC:d\r\n\r\nHTTP/1.1";
        for piece in 1..=body.len() {
            let (data, trailers, left) = read(body, piece).unwrap();
            assert_eq!(data, b"hello world", "in pieces of {piece}");
            assert_eq!(
                (&trailers["a"], &trailers["c"]),
                (&"b".parse().unwrap(), &"d".parse().unwrap())
            );
            assert_eq!(left, b"HTTP/1.1");
        }
    }

    #[test]
    fn padded_sizes_are_read_as_they_are_meant() {
        for body in [
            "5  \r\nhello\r\n0\r\n\r\n",
            "5\t;x\r\nhello\r\n0 \r\n\r\n",
            "00000000000000000000005\r\nhello\r\n0000000000000000000000\r\n\r\n",
        ] {
            for piece in 1..=body.len() {
                assert_eq!(
                    read(body.as_bytes(), piece).unwrap().0,
                    b"hello",
                    "{body:?}"
                );
            }
        }
        let many = format!("{}0\r\n\r\n", "1                    \r\nx\r\n".repeat(2000));
        assert_eq!(
            read(many.as_bytes(), 1000).unwrap().0,
            "x".repeat(2000).as_bytes()
        );
    }

    #[test]
    fn what_can_be_read_two_ways_is_broken() {
        for body in [
            "5 1\r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
            "5\r\nhello\r\n0\r\n A: b\r\n\r\n",
            "1000000000000000\r\n",
            "5\r\nhello\r\n",
        ] {
            for piece in [1, 3, body.len()] {
                assert!(read(body.as_bytes(), piece).is_err(), "{body:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_in_one_way_however_it_is_cut(
            parts in vec(select(&WORDS[..]), 0..12),
            piece in 1_usize..40,
        ) {
            let body = parts.concat().into_bytes();
            let (whole, cut) = (read(&body, body.len().max(1)), read(&body, piece));
            prop_assert_eq!(whole.ok(), cut.ok());
        }
    }

    /// What bodies are made of, well and badly.
    const WORDS: [&str; 16] = [
        "3\r\n",
        "abc\r\n",
        "00a;x=\"y\"\r\n",
        "0123456789\r\n",
        "1 \r\n",
        "z\r\n",
        "0\r\n",
        "\r\n",
        "A: b\r\n",
        "c:\r\n",
        "\n",
        " ",
        "ffffffffffffffff\r\n",
        ";",
        "\0",
        "HTTP/1.1 200 OK\r\n",
    ];

    #[test]
    fn the_end_is_known_with_the_last_data() {
        let mut body = Bytes::from_static(b"5\r\nhello\r\n0\r\n\r\n");
        let mut chunked = Chunked::lenient();
        assert!(chunked.next(&mut body).unwrap().unwrap().is_data());
        assert!(chunked.is_over() && body.is_empty());
    }
}
