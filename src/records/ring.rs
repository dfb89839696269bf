//! The recent records, for `/logs`. They lie on shelves by what they are about: a flood of successes leaves what failed where
//! it is, and a flood of what clients did wrong leaves what the application did wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::class::Class;
use super::log::Lines;
use super::notice::Notice;

/// The recent records of all threads. Its lock is taken once for a batch of them.
#[derive(Debug)]
pub(crate) struct Ring {
    shelves: Mutex<Shelves>,
}

/// Some records in the order in which they came, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    /// Each one line of JSON without its end.
    pub lines: Vec<Arc<[u8]>>,
    /// Where to go on.
    pub place: u64,
    /// Records between that are not here any more.
    pub missed: u64,
}

#[derive(Debug)]
struct Shelves {
    /// Records at most, and as many KiB.
    size: usize,
    /// Of the next record. Places count from 1.
    next: u64,
    /// Successes, what clients did wrong, and the rest.
    shelves: [Shelf; 3],
}

/// Records in the order of their places.
#[derive(Debug, Default)]
struct Shelf {
    entries: VecDeque<Entry>,
    /// Of all entries. Clients choose how long a line is, so their number alone bounds nothing.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    place: u64,
    line: Arc<[u8]>,
}

impl Ring {
    /// A ring of `size` records, and as many KiB.
    pub(crate) fn new(size: usize) -> Self {
        Self {
            shelves: Mutex::new(Shelves {
                size,
                next: 1,
                shelves: Default::default(),
            }),
        }
    }

    /// Keeps records.
    pub(super) fn keep(&self, lines: &Lines) {
        let mut shelves = self.lock();
        for (class, line) in lines.iter() {
            shelves.keep(class, line);
        }
    }

    /// Keeps what the log says of itself. It may say it often, and pushes out nothing that matters.
    pub(crate) fn note(&self, notice: &Notice) {
        self.lock().keep(Class::Success, notice.json());
    }

    /// All records, newest first, each one line of JSON.
    pub(crate) fn recent(&self) -> Vec<Arc<[u8]>> {
        let (mut lines, mut place) = (Vec::new(), 0);
        loop {
            // Not all at once: workers wait for the lock meanwhile.
            let passage = self.after(place, SOME);
            if passage.lines.is_empty() {
                break;
            }
            place = passage.place;
            lines.extend(passage.lines);
        }
        lines.reverse();
        lines
    }

    /// What came after `place`: `most` records at most, and fewer where they are long.
    pub(crate) fn after(&self, place: u64, most: usize) -> Passage {
        self.lock().after(place, most)
    }

    /// The place of the newest record.
    pub(crate) fn newest(&self) -> u64 {
        self.lock().next - 1
    }

    /// The place of the record with this id.
    pub(crate) fn place_of(&self, id: &str) -> Option<u64> {
        let wanted = format!(",\"id\":\"{id}\"");
        // It is the second field, behind the kind.
        let has_it = |entry: &&Entry| {
            let kind = memchr::memchr(b',', &entry.line);
            kind.is_some_and(|kind| entry.line[kind..].starts_with(wanted.as_bytes()))
        };
        let shelves = self.lock();
        let mut entries = shelves.shelves.iter().flat_map(|shelf| &shelf.entries);
        entries.find(has_it).map(|entry| entry.place)
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // What a panicking holder leaves behind is whole entries.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn keep(&mut self, class: Class, line: &[u8]) {
        let entry = Entry {
            place: self.next,
            line: Arc::from(line),
        };
        self.next += 1;
        let shelf = match class {
            Class::Success => 0,
            Class::Refused => 1,
            Class::Failed | Class::Audit => 2,
        };
        self.shelves[shelf].bytes += entry.size();
        self.shelves[shelf].entries.push_back(entry);
        while self.len() > self.size || self.bytes() > self.size * TYPICAL {
            self.forget();
        }
    }

    /// Takes away the oldest record of those shelves that have more than what is reserved for them. When there is too much
    /// in all, at least one has.
    fn forget(&mut self) {
        let has_too_many = self.len() > self.size;
        let reserved = [self.size / 2, self.size / 4, self.size / 4];
        let over = self.shelves.iter_mut().zip(reserved);
        let over = over.filter(|(shelf, reserved)| {
            if has_too_many {
                shelf.entries.len() > *reserved
            } else {
                shelf.bytes > reserved * TYPICAL
            }
        });
        let oldest = over.min_by_key(|(shelf, _)| shelf.first_place());
        if let Some((shelf, _)) = oldest
            && let Some(entry) = shelf.entries.pop_front()
        {
            shelf.bytes -= entry.size();
        }
    }

    fn after(&self, place: u64, most: usize) -> Passage {
        let mut known = self.shelves.each_ref().map(|shelf| {
            let entries = &shelf.entries;
            entries.partition_point(|entry| entry.place <= place)
        });
        let mut passage = Passage {
            place,
            ..Passage::default()
        };
        let mut bytes = 0;
        while passage.lines.len() < most && bytes < MOST_BYTES {
            let heads = self.shelves.iter().zip(&mut known);
            let heads = heads.filter_map(|(shelf, at)| Some((shelf.entries.get(*at)?, at)));
            let Some((entry, at)) = heads.min_by_key(|(entry, _)| entry.place) else {
                passage.place = self.next - 1;
                break;
            };
            *at += 1;
            passage.place = entry.place;
            bytes += entry.line.len();
            passage.lines.push(Arc::clone(&entry.line));
        }
        passage.missed = passage.place - place - passage.lines.len() as u64;
        passage
    }

    fn len(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.entries.len()).sum()
    }

    fn bytes(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.bytes).sum()
    }
}

impl Shelf {
    fn first_place(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.place)
    }
}

impl Entry {
    fn size(&self) -> usize {
        self.line.len() + size_of::<Self>() + COUNTS
    }
}

/// Records read under one lock, and about as many bytes at most.
const SOME: usize = 500;
const MOST_BYTES: usize = 256 * 1024;
/// Bytes of a record; most have some 700.
const TYPICAL: usize = 1024;
/// Bytes in front of what an `Arc` holds.
const COUNTS: usize = 2 * size_of::<usize>();

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(class: Class, texts: impl IntoIterator<Item = String>) -> Lines {
        let mut lines = Lines::default();
        for text in texts {
            lines.add(|out| {
                out.extend_from_slice(text.as_bytes());
                class
            });
        }
        lines
    }

    fn numbered(class: Class, numbers: std::ops::Range<u32>) -> Lines {
        lines(class, numbers.map(|number| format!("{class:?} {number}")))
    }

    fn texts(lines: &[Arc<[u8]>]) -> Vec<&str> {
        let text = |line| std::str::from_utf8(line).unwrap();
        lines.iter().map(|line| text(line)).collect()
    }

    fn kept(ring: &Ring, class: Class) -> usize {
        let lines = ring.recent();
        let word = format!("{class:?} ");
        let of_class = |text: &&str| text.starts_with(&word);
        texts(&lines).into_iter().filter(of_class).count()
    }

    #[test]
    fn a_flood_of_one_kind_leaves_the_others_their_reserve() {
        let ring = Ring::new(100);
        ring.keep(&numbered(Class::Failed, 0..40));
        ring.keep(&numbered(Class::Refused, 0..40));
        ring.keep(&numbered(Class::Success, 0..1000));
        assert_eq!(kept(&ring, Class::Failed), 25);
        assert_eq!(kept(&ring, Class::Refused), 25);
        assert_eq!(kept(&ring, Class::Success), 50);
        ring.keep(&numbered(Class::Refused, 40..1000));
        assert_eq!(kept(&ring, Class::Failed), 25);
        assert_eq!(kept(&ring, Class::Success), 50);
        let lines = ring.recent();
        assert_eq!(texts(&lines)[0], "Refused 999");
        assert_eq!(*texts(&lines).last().unwrap(), "Failed 15");
    }

    #[test]
    fn what_nobody_else_needs_belongs_to_whom_there_is_most_of() {
        let ring = Ring::new(100);
        ring.keep(&numbered(Class::Success, 0..1000));
        assert_eq!(kept(&ring, Class::Success), 100);
        ring.keep(&numbered(Class::Failed, 0..1000));
        assert_eq!(kept(&ring, Class::Success), 50);
        assert_eq!(kept(&ring, Class::Failed), 50);
    }

    #[test]
    fn long_lines_take_more_room_and_not_more_memory() {
        let ring = Ring::new(64);
        ring.keep(&numbered(Class::Failed, 0..10));
        ring.keep(&lines(Class::Success, (0..64).map(|_| "x".repeat(8000))));
        let sum: usize = ring.recent().iter().map(|line| line.len()).sum();
        assert!((40_000..=64 * TYPICAL).contains(&sum), "{sum}");
        assert_eq!(kept(&ring, Class::Failed), 10);
    }

    #[test]
    fn a_follower_gets_each_record_once_in_order_and_hears_how_many_it_missed() {
        let ring = Ring::new(10);
        let place = ring.newest();
        ring.keep(&numbered(Class::Success, 0..3));
        ring.keep(&numbered(Class::Failed, 3..4));
        let first = ring.after(place, 2);
        assert_eq!(texts(&first.lines), ["Success 0", "Success 1"]);
        let second = ring.after(first.place, 10);
        assert_eq!(texts(&second.lines), ["Success 2", "Failed 3"]);
        assert_eq!((first.missed, second.missed), (0, 0));
        let nothing = ring.after(second.place, 10);
        assert_eq!((nothing.lines.len(), nothing.missed), (0, 0));
        // The failure has been read, and is among what is left.
        ring.keep(&numbered(Class::Success, 4..104));
        let late = ring.after(nothing.place, 1000);
        assert_eq!(late.lines.len() as u64 + late.missed, 100);
        assert_eq!(*texts(&late.lines).last().unwrap(), "Success 103");
        assert_eq!(ring.after(late.place, 1).lines.len(), 0);
    }

    #[test]
    fn a_record_is_found_by_its_id() {
        let ring = Ring::new(10);
        let records =
            (0..5).map(|number| format!("{{\"kind\":\"x\",\"id\":\"{number}\",\"id\":\"7\"}}"));
        ring.keep(&lines(Class::Success, records));
        assert_eq!(ring.place_of("3"), Some(4));
        assert_eq!(ring.place_of("7"), None);
    }
}
