//! Finished lines, one behind the other, each with its class.

use crate::records::class::Class;

/// Lines that are on their way.
#[derive(Clone, Debug, Default)]
pub(in crate::records) struct Lines {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

/// Where a line ends.
#[derive(Clone, Copy, Debug)]
struct Mark {
    end: usize,
    class: Class,
}

impl Lines {
    /// With room for so many bytes.
    pub(super) fn with_room(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            marks: Vec::with_capacity(bytes / SHORT),
        }
    }

    /// Adds the line that `write` makes, without its end, and of whose class it tells.
    pub(in crate::records) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Class) -> Class {
        let class = write(&mut self.bytes);
        self.bytes.push(b'\n');
        self.marks.push(Mark {
            end: self.bytes.len(),
            class,
        });
        class
    }

    /// The lines without their ends.
    pub(in crate::records) fn iter(&self) -> impl Iterator<Item = (Class, &[u8])> {
        let mut start = 0;
        self.marks.iter().map(move |mark| {
            let line = &self.bytes[start..mark.end - 1];
            start = mark.end;
            (mark.class, line)
        })
    }

    /// The last line, without its end.
    pub(super) fn last(&self) -> &[u8] {
        let start = self.marks.iter().nth_back(1).map_or(0, |mark| mark.end);
        self.bytes[start..].strip_suffix(b"\n").unwrap_or_default()
    }

    /// All of them, as they are written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes, and what is kept beside them.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + self.marks.len() * size_of::<Mark>()
    }

    pub(super) fn count(&self) -> u64 {
        self.marks.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
    }

    /// The same with no room to spare.
    pub(super) fn exact(&self) -> Self {
        Self {
            bytes: self.bytes.as_slice().into(),
            marks: self.marks.as_slice().into(),
        }
    }

    /// The classes of the lines that do not end within the first so many bytes.
    pub(super) fn behind(&self, bytes: usize) -> impl Iterator<Item = Class> {
        self.marks
            .iter()
            .filter(move |mark| mark.end > bytes)
            .map(|mark| mark.class)
    }
}

/// Bytes that hardly a line is shorter than.
const SHORT: usize = 256;
