//! The recent records, for `/logs`. Each thread keeps its own share, so that a request never waits for another worker;
//! whoever reads puts the shares together.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// All shares.
#[derive(Debug)]
pub(crate) struct Ring {
    size: usize,
    shards: Mutex<Vec<Arc<Mutex<Shard>>>>,
}

/// One thread's share: as large as the whole ring, because one thread may have served everything that is recent.
#[derive(Debug)]
pub(super) struct Shard {
    size: usize,
    /// Of the lines kept. Clients choose how long a line is, so their number alone bounds nothing.
    bytes: usize,
    entries: VecDeque<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Microseconds since the epoch, when the record was closed.
    closed: u128,
    line: Arc<[u8]>,
}

impl Ring {
    /// A ring of `size` records.
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            shards: Mutex::default(),
        }
    }

    /// The newest records of all threads, newest first, each a line of JSON.
    pub(crate) fn recent(&self) -> Vec<Arc<[u8]>> {
        let mut entries = Vec::new();
        for shard in lock(&self.shards).iter() {
            entries.extend(lock(shard).entries.iter().rev().cloned());
        }
        // Stable: records of one thread that closed in the same microsecond stay in order.
        entries.sort_by_key(|entry| Reverse(entry.closed));
        entries.truncate(self.size);
        entries.into_iter().map(|entry| entry.line).collect()
    }

    /// A new share for the calling thread.
    pub(super) fn shard(&self) -> Arc<Mutex<Shard>> {
        let shard = Arc::new(Mutex::new(Shard {
            size: self.size,
            bytes: 0,
            entries: VecDeque::new(),
        }));
        lock(&self.shards).push(Arc::clone(&shard));
        shard
    }

    /// Keeps a record. The lock is the thread's own; only a reader of `/logs` ever holds it, too.
    pub(super) fn keep(shard: &Mutex<Shard>, line: &[u8]) {
        let closed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros());
        let entry = Entry {
            closed,
            line: Arc::from(line),
        };
        let mut shard = lock(shard);
        shard.bytes += line.len();
        shard.entries.push_back(entry);
        while shard.entries.len() > shard.size || shard.bytes > shard.size * TYPICAL {
            let Some(oldest) = shard.entries.pop_front() else {
                return;
            };
            shard.bytes -= oldest.line.len();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panicking holder leaves behind is whole entries.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of a line; most have some 600.
const TYPICAL: usize = 1024;
