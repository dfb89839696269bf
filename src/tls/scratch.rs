//! Room that a worker's connections share while they read and write, so that none needs any of its own while it waits.

use std::cell::{RefCell, RefMut};

use crate::byte_stream::RECORD;

/// One for each worker. Nothing stays in it from one poll to the next.
#[derive(Debug)]
pub(crate) struct Scratch {
    come: RefCell<Room>,
    plain: RefCell<Room>,
    sealed: RefCell<Room>,
}

impl Default for Scratch {
    fn default() -> Self {
        let room = |size| RefCell::new(Room::new(size));
        Self {
            come: room(COME),
            plain: room(RECORD),
            sealed: room(SEALED),
        }
    }
}

impl Scratch {
    /// For records as they come.
    pub(super) fn come(&self) -> RefMut<'_, Room> {
        self.come.borrow_mut()
    }

    /// For what becomes one record, and for the records that it and others became.
    pub(super) fn to_seal(&self) -> (RefMut<'_, Room>, RefMut<'_, Room>) {
        (self.plain.borrow_mut(), self.sealed.borrow_mut())
    }
}

/// Bytes that begin in the middle of a page. What is copied between them and rustls' own, which begin where pages do or a few bytes
/// behind, is copied fast then (see [`pieces`](crate::byte_stream::pieces)).
#[derive(Debug)]
pub(super) struct Room {
    bytes: Vec<u8>,
    start: usize,
}

impl Room {
    fn new(size: usize) -> Self {
        let bytes = vec![0; size + PAGE + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE).min(PAGE) + PAGE / 2;
        Self { bytes, start }
    }

    /// All of it, and `least` bytes at least.
    pub(super) fn of(&mut self, least: usize) -> &mut [u8] {
        if self.bytes.len() - self.start < least {
            *self = Self::new(least);
        }
        &mut self.bytes[self.start..]
    }
}

/// Bytes that TLS holds for a client that does not take them, before they are encrypted.
pub(super) const HELD: usize = 64 * 1024;
/// Bytes read at once at most.
pub(super) const READ: usize = 48 * 1024;
const COME: usize = READ + 2 * RECORD;
/// With what each record has around what it carries, and with what rustls says by itself.
const SEALED: usize = HELD + 4 * 1024;
const PAGE: usize = 4 * 1024;
