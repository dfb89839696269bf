//! Bodies that tell whose they are: each request's is a window into one long random text, from a place of its own.

use std::sync::LazyLock;

use aws_lc_rs::digest::{Context, SHA256};

use crate::plan::Plan;

/// The text, and its beginning once more, so that every piece is one slice.
static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = fastrand::Rng::with_seed(0x0050_4f52_5443_554c);
    let mut text: Vec<u8> = (0..PERIOD).map(|_| rng.u8(..)).collect();
    text.extend_from_within(..PIECE);
    text
});

/// A body of so many bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    id: u64,
    size: usize,
    at: usize,
}

impl Content {
    pub(crate) fn new(id: u64, size: usize) -> Self {
        Self { id, size, at: 0 }
    }

    /// The next piece; none at the end.
    pub(crate) fn next(&mut self, most: usize) -> Option<&'static [u8]> {
        let length = most.min(PIECE).min(self.size - self.at);
        if length == 0 {
            return None;
        }
        let from = (self.id.wrapping_mul(7_919) as usize).wrapping_add(self.at) % PERIOD;
        self.at += length;
        Some(&TEXT[from..from + length])
    }

    /// Whether these are the bytes that come next.
    pub(crate) fn matches(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let Some(piece) = self.next(bytes.len()) else {
                return false;
            };
            if !bytes.starts_with(piece) {
                return false;
            }
            bytes = &bytes[piece.len()..];
        }
        true
    }

    pub(crate) fn is_over(&self) -> bool {
        self.at == self.size
    }
}

/// What the body of an answer must be.
pub(crate) enum Due {
    Content(Content),
    /// This, from here on.
    Text(String, usize),
}

impl Due {
    pub(crate) fn of(plan: &Plan, id: u64) -> Self {
        if plan.is_upload() {
            Self::Text(Receipt::of(Content::new(id, plan.up)), 0)
        } else {
            Self::Content(Content::new(id, plan.down))
        }
    }

    /// Whether these are the bytes that come next.
    pub(crate) fn matches(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Content(content) => content.matches(bytes),
            Self::Text(text, at) => {
                let is_next = text.as_bytes()[*at..].starts_with(bytes);
                *at += bytes.len();
                is_next
            }
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Content(content) => content.is_over(),
            Self::Text(text, at) => text.len() == *at,
        }
    }
}

/// What an application has seen of an upload, and says in its answer.
pub(crate) struct Receipt {
    length: usize,
    digest: Context,
}

impl Receipt {
    pub(crate) fn new() -> Self {
        Self {
            length: 0,
            digest: Context::new(&SHA256),
        }
    }

    /// The receipt that is due for this body.
    pub(crate) fn of(mut content: Content) -> String {
        let mut receipt = Self::new();
        while let Some(piece) = content.next(PIECE) {
            receipt.add(piece);
        }
        receipt.written()
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.digest.update(bytes);
    }

    pub(crate) fn written(self) -> String {
        let digest = self.digest.finish();
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        format!("{} {hex}", self.length)
    }
}

/// A prime, so that a block that slipped by any round number is seen.
const PERIOD: usize = 65_521;
/// The longest piece.
pub(crate) const PIECE: usize = 16 * 1024;
