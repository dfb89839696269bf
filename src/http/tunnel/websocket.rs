//! WebSocket frames as they go by (RFC 6455, section 5.2): where one ends, and whether it was the last. Nothing is kept of what
//! is in them.

/// Where one direction is in its frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    /// The header of the frame that has begun, as far as it has come.
    header: [u8; LONGEST],
    come: usize,
    /// Bytes of its content to come.
    left: u64,
    /// A close frame has gone by.
    closed: bool,
}

impl Frames {
    /// These have gone by.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// Whether the next byte begins a frame.
    pub(super) fn is_between(&self) -> bool {
        self.come == 0 && self.left == 0
    }

    /// How many of these belong to the frame that has begun.
    pub(super) fn rest(&self, bytes: &[u8]) -> usize {
        let mut ahead = self.clone();
        let mut counted = 0;
        while counted < bytes.len() && !ahead.is_between() {
            counted += ahead.step(&bytes[counted..]);
        }
        counted
    }

    /// Whether this side has said that it will say no more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed && self.is_between()
    }

    /// Takes what belongs together, and says how much that was.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let taken = bytes
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= taken as u64;
            return taken;
        }
        self.header[self.come] = bytes[0];
        self.come += 1;
        if let Some(length) = self.whole() {
            self.closed |= self.header[0] & OPCODE == CLOSE;
            (self.come, self.left) = (0, length);
        }
        1
    }

    /// The length of the content, once the header is whole.
    fn whole(&self) -> Option<u64> {
        let &[_, second, ..] = self.header[..self.come].first_chunk::<2>()?;
        let mask = if second & MASKED == 0 { 0 } else { 4 };
        let extended = match second & LENGTH {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.come < 2 + extended + mask {
            return None;
        }
        Some(match extended {
            0 => u64::from(second & LENGTH),
            _ => self.header[2..2 + extended]
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
        })
    }
}

/// From a server, unmasked: 1001, going away (section 7.4.1).
pub(super) const GOING_AWAY: &[u8] = &[FINAL | CLOSE, 2, 0x03, 0xE9];

/// Two bytes, a length of eight, and the mask.
const LONGEST: usize = 14;
const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0F;
const CLOSE: u8 = 8;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with this opcode, content of this length, and a mask where one is wanted.
    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut frame = vec![FINAL | opcode];
        match length {
            0..126 => frame.push(mask | length as u8),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        // What looks like a close frame all the way.
        frame.extend(std::iter::repeat_n(FINAL | CLOSE, length));
        frame
    }

    #[test]
    fn the_close_frame_is_one_and_says_going_away() {
        let mut frames = Frames::default();
        frames.pass(GOING_AWAY);
        assert!(frames.is_closed());
        assert_eq!(u16::from_be_bytes([GOING_AWAY[2], GOING_AWAY[3]]), 1001);
    }

    proptest! {
        #[test]
        fn frames_end_where_they_end_however_they_are_cut(
            kinds in prop::collection::vec((0_u8..3, prop::sample::select(vec![0, 1, 125, 126, 65_535, 65_536]), any::<bool>()), 1..5),
            cuts in prop::collection::vec(1_usize..70_000, 1..20),
        ) {
            let all: Vec<Vec<u8>> = kinds.iter().map(|&(opcode, length, masked)| frame(opcode, length, masked)).collect();
            let ends: Vec<usize> = all.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) }).collect();
            let bytes = all.concat();
            let (mut frames, mut at) = (Frames::default(), 0);
            for cut in cuts.into_iter().cycle() {
                let next = (at + cut).min(bytes.len());
                let end = ends.iter().copied().find(|end| *end >= at).unwrap();
                let is_between = at == 0 || ends.contains(&at);
                prop_assert_eq!(frames.is_between(), is_between);
                let rest = if is_between { 0 } else { end.min(next) - at };
                prop_assert_eq!(frames.rest(&bytes[at..next]), rest);
                frames.pass(&bytes[at..next]);
                at = next;
                if at == bytes.len() {
                    break;
                }
            }
            prop_assert!(frames.is_between() && !frames.is_closed());
            frames.pass(&frame(CLOSE, 2, true));
            prop_assert!(frames.is_closed());
        }
    }
}
