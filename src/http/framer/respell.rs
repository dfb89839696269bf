//! The head of an answer as hyper writes it, with its names as the application wrote them. Only case changes, so hyper is told
//! of the bytes that it has written itself.

use std::io::IoSlice;

use crate::headers::{Speller, Spelling};

/// The rest of a head that is being written.
#[derive(Debug)]
pub(super) struct Respelt {
    head: Vec<u8>,
}

impl Respelt {
    /// The same head, at the front of what hyper writes, in this spelling. An interim one (100) may lie before it.
    pub(super) fn new(written: &[u8], spelling: &Spelling) -> Self {
        let mut head = Vec::with_capacity(written.len());
        let mut speller = Speller::new(Some(spelling));
        for line in written.split_inclusive(|byte| *byte == b'\n') {
            let (name, rest) = line.split_at(memchr::memchr(b':', line).unwrap_or(0));
            head.extend_from_slice(speller.next(name).unwrap_or(name));
            head.extend_from_slice(rest);
        }
        Self { head }
    }

    /// Writes these parts, the first of which is the rest of the head.
    pub(super) fn with<T>(
        &self,
        parts: &[IoSlice<'_>],
        write: impl FnOnce(&[IoSlice<'_>]) -> T,
    ) -> T {
        let mut respelt = [IoSlice::new(&[]); MOST_PARTS];
        let count = parts.len().min(MOST_PARTS);
        respelt[..count].copy_from_slice(&parts[..count]);
        respelt[0] = IoSlice::new(&self.head);
        write(&respelt[..count])
    }

    /// So many bytes were written; whether the whole head was.
    pub(super) fn written(&mut self, count: usize) -> bool {
        self.head.drain(..count.min(self.head.len()));
        self.head.is_empty()
    }
}

/// As many as hyper writes at once.
const MOST_PARTS: usize = 64;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn names_in_a_head_are_respelt_and_nothing_else_is() {
        let head = Bytes::from_static(b"HTTP/1.1 200 OK\r\nETag: etag\r\nx-b: X-B: c\r\n\r\n");
        let mut spelling = Spelling::default();
        for name in ["ETag", "x-b"] {
            let at = head
                .windows(name.len())
                .position(|part| part == name.as_bytes());
            let part = &head[at.unwrap()..][..name.len()];
            spelling.note(&head, std::str::from_utf8(part).unwrap(), || 0);
        }
        let ahead = "HTTP/1.1 100 Continue\r\n\r\n";
        let written = format!("{ahead}HTTP/1.1 200 OK\r\nEtag: etag\r\nX-B: X-B: c\r\n\r\n");
        let mut respelt = Respelt::new(written.as_bytes(), &spelling);
        let wanted = [ahead.as_bytes(), &head].concat();
        for at in 0..wanted.len() {
            let parts = [
                IoSlice::new(&written.as_bytes()[at..]),
                IoSlice::new(b"body"),
            ];
            respelt.with(&parts, |parts| {
                assert_eq!(&parts[0][..], &wanted[at..]);
                assert_eq!(&parts[1][..], b"body");
            });
            assert_eq!(respelt.written(1), at + 1 == wanted.len());
        }
    }
}
