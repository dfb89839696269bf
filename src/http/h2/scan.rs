//! Frame heads in a stream of bytes that comes in any pieces (RFC 9113, section 4.1). Nothing is kept but the first bytes of the
//! current frame.

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Bytes of payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// Where the scan is in the stream.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Bytes of the client's preface still to come.
    preface: usize,
    /// The head of the current frame and what is wanted of its payload.
    bytes: [u8; HEAD + WANTED],
    have: usize,
    /// Bytes still to come of a frame that is not wanted any more.
    skip: usize,
    /// The frame that is being skipped.
    skipped: Option<FrameHead>,
}

impl FrameHead {
    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn read(bytes: &[u8; HEAD + WANTED]) -> Self {
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte))
        };
        Self {
            length: number(&bytes[..3]) as usize,
            kind: bytes[3],
            flags: bytes[4],
            // The first bit is reserved.
            stream: number(&bytes[5..HEAD]) & 0x7fff_ffff,
        }
    }
}

impl Scan {
    /// A client's side, which begins with the preface (RFC 9113, section 3.4).
    pub(super) fn after_preface() -> Self {
        Self {
            preface: PREFACE,
            ..Self::default()
        }
    }

    /// Whether the first byte of the preface has come.
    pub(super) fn has_begun(&self) -> bool {
        self.preface < PREFACE
    }

    /// Tells `each` of every frame whose head, and as much of its payload as is wanted, is here.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(FrameHead, &[u8])) {
        while !bytes.is_empty() {
            let idle = self.preface.min(bytes.len());
            self.preface -= idle;
            bytes = &bytes[idle..];
            let skip = self.skip.min(bytes.len());
            self.skip -= skip;
            bytes = &bytes[skip..];
            if self.skip > 0 || bytes.is_empty() {
                break;
            }
            self.skipped = None;
            bytes = self.collect(bytes, &mut each);
        }
        if self.skip == 0 {
            self.skipped = None;
        }
    }

    /// Collects the head of a frame and the first bytes behind it.
    fn collect<'a>(
        &mut self,
        mut bytes: &'a [u8],
        each: &mut impl FnMut(FrameHead, &[u8]),
    ) -> &'a [u8] {
        if self.have < HEAD {
            bytes = self.take(bytes, HEAD);
            if self.have < HEAD {
                return bytes;
            }
        }
        let head = FrameHead::read(&self.bytes);
        let wanted = head.length.min(WANTED);
        bytes = self.take(bytes, HEAD + wanted);
        if self.have == HEAD + wanted {
            each(head, &self.bytes[HEAD..self.have]);
            self.skip = head.length - wanted;
            self.skipped = (self.skip > 0).then_some(head);
            self.have = 0;
        }
        bytes
    }

    fn take<'a>(&mut self, bytes: &'a [u8], until: usize) -> &'a [u8] {
        let count = (until - self.have).min(bytes.len());
        self.bytes[self.have..self.have + count].copy_from_slice(&bytes[..count]);
        self.have += count;
        &bytes[count..]
    }

    /// Whether it stands within a frame of this kind, or in a head that does not tell yet.
    pub(super) fn is_within(&self, of_kind: impl Fn(FrameHead) -> bool) -> bool {
        match self.skipped {
            Some(head) => of_kind(head),
            None if self.have >= HEAD => of_kind(FrameHead::read(&self.bytes)),
            None => self.have > 0,
        }
    }
}

const PREFACE: usize = 24;
const HEAD: usize = 9;
/// GOAWAY's last stream and code.
const WANTED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_the_bytes_come() {
        let frame = |length: usize, kind: u8, stream: u8| {
            let mut bytes = vec![
                0,
                (length >> 8) as u8,
                length as u8,
                kind,
                4,
                0,
                0,
                0,
                stream,
            ];
            bytes.extend((0..length).map(|at| at as u8));
            bytes
        };
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(0, 4, 0));
        bytes.extend(frame(5, 1, 1));
        bytes.extend(frame(300, 0, 1));
        bytes.extend(frame(8, 7, 0));
        for piece in 1..bytes.len() {
            let mut scan = Scan::after_preface();
            let mut seen = Vec::new();
            for part in bytes.chunks(piece) {
                scan.feed(part, |head, payload| {
                    seen.push((head.length, head.kind, head.stream, payload.len()));
                });
            }
            let wanted = [(0, 4, 0, 0), (5, 1, 1, 5), (300, 0, 1, 8), (8, 7, 0, 8)];
            assert_eq!(seen, wanted, "in pieces of {piece}");
            assert!(!scan.is_within(|_| true), "in pieces of {piece}");
        }
    }

    #[test]
    fn it_is_known_what_is_half_here() {
        let mut scan = Scan::default();
        scan.feed(&[0, 0, 20, 1], |_, _| {});
        assert!(scan.is_within(|_| false), "part of a head");
        scan.feed(&[4, 0, 0, 0, 1, 9, 9], |_, _| {});
        assert!(scan.is_within(|head| head.kind == 1));
        scan.feed(&[9; 17], |_, _| {});
        assert!(scan.is_within(|head| head.kind == 1));
        scan.feed(&[9], |_, _| {});
        assert!(!scan.is_within(|_| true));
    }
}
