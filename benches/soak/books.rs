//! The books: every request from the moment it is made up until both its outcome and its record are there. Then it is judged
//! and forgotten, so that they stay small however long the soak lasts.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::entry::Entry;
use crate::plan::Plan;
use crate::tally::Tally;
use crate::verdict::{self, Outcome, Record};

#[derive(Default)]
pub(crate) struct Books(Mutex<Ledger>);

#[derive(Default)]
pub(crate) struct Ledger {
    last: u64,
    open: HashMap<u64, Entry>,
    /// Clients that leave before there is a request with a number, by their port: one record each is due.
    nameless: HashMap<u16, Nameless>,
    /// The application that requests go to, as a bit; and that which they may go to already.
    in_force: u8,
    coming: u8,
    /// How records name the applications.
    urls: [String; 2],
    /// When each application last ended connections, and whether all of them.
    ended: [Option<Ended>; 2],
    pub(crate) tally: Tally,
}

struct Nameless {
    due: usize,
    since: Instant,
}

#[derive(Clone, Copy)]
struct Ended {
    at: Instant,
    is_restart: bool,
}

impl Books {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How records name the applications.
    pub(crate) fn name(&self, urls: [String; 2]) {
        self.lock().urls = urls;
    }

    /// What must not happen has happened.
    pub(crate) fn violated(&self, what: impl Into<String>) {
        self.lock().tally.violated(what.into());
    }

    /// A new request, and its number.
    pub(crate) fn open(&self, plan: Plan) -> u64 {
        let mut ledger = self.lock();
        ledger.last += 1;
        let id = ledger.last;
        let mut entry = Entry::new(plan, ledger.in_force | ledger.coming);
        // The sidecar may not have seen yet what happened a moment ago.
        for ended in ledger.ended.iter().flatten() {
            if ended.at.elapsed() < UNSEEN {
                entry.met(ended.is_restart);
            }
        }
        ledger.open.insert(id, entry);
        id
    }

    /// How the client fared.
    pub(crate) fn ended(&self, id: u64, outcome: Outcome) {
        let mut ledger = self.lock();
        if let Some(entry) = ledger.open.get_mut(&id) {
            entry.outcome = Some(outcome);
        }
        ledger.settle(id);
    }

    /// The application has read the request's head.
    pub(crate) fn is_at(&self, id: u64) {
        if let Some(entry) = self.lock().open.get_mut(&id) {
            entry.is_at_app = true;
        }
    }

    pub(crate) fn was_seen_by_app(&self, id: u64) -> bool {
        let ledger = self.lock();
        ledger.open.get(&id).is_none_or(|entry| entry.is_at_app)
    }

    /// An application ends connections: unused ones, or all, with these requests on them.
    pub(crate) fn connections_end(&self, app: usize, killed: Option<&[u64]>) {
        let mut ledger = self.lock();
        let is_restart = killed.is_some();
        ledger.ended[app] = Some(Ended {
            at: Instant::now(),
            is_restart,
        });
        for entry in ledger.open.values_mut() {
            if entry.targets & (1 << app) != 0 {
                entry.met(is_restart);
            }
        }
        for id in killed.unwrap_or_default() {
            if let Some(entry) = ledger.open.get_mut(id) {
                entry.is_killed = true;
            }
        }
    }

    /// From now on requests may go to this application; and once it is said to be in force, to no other.
    pub(crate) fn target(&self, app: usize, is_in_force: bool) {
        let mut ledger = self.lock();
        let bit = 1 << app;
        if is_in_force {
            (ledger.in_force, ledger.coming) = (bit, 0);
        } else {
            ledger.coming = bit;
        }
        for entry in ledger.open.values_mut() {
            entry.targets |= bit;
        }
    }

    /// The client at this port will leave one record without a number.
    pub(crate) fn expect_from(&self, port: u16) {
        let mut ledger = self.lock();
        let nameless = ledger.nameless.entry(port).or_insert_with(|| Nameless {
            due: 0,
            since: Instant::now(),
        });
        nameless.due += 1;
    }

    /// A line of the sidecar's log.
    pub(crate) fn line(&self, line: &str) {
        let mut ledger = self.lock();
        let Ok(value) = serde_json::from_str::<Value>(line) else {
            return ledger.tally.violated(format!("no JSON: {line}"));
        };
        match value["kind"].as_str() {
            Some("exchange") => ledger.exchange(&value, line),
            Some("handshake") => ledger.handshake(&value, line),
            Some("audit") => ledger.tally.audits += 1,
            _ => ledger.tally.violated(format!("unexpected: {line}")),
        }
    }

    /// Whether nothing is missing.
    pub(crate) fn are_settled(&self) -> bool {
        let ledger = self.lock();
        ledger.open.is_empty() && ledger.nameless.is_empty()
    }

    /// Gives up what has waited for its record for too long. What is not over for its client waits.
    pub(crate) fn give_up_older_than(&self, age: Duration) {
        let mut ledger = self.lock();
        let is_old = |entry: &Entry| entry.began.elapsed() > age;
        let late = |(id, entry): (&u64, &Entry)| is_old(entry).then_some(*id);
        let late: Vec<u64> = ledger.open.iter().filter_map(late).collect();
        for id in late {
            ledger.give_up(id);
        }
        let missing = |(port, nameless): (&u16, &Nameless)| {
            (nameless.since.elapsed() > age).then_some((*port, nameless.due))
        };
        let missing: Vec<_> = ledger.nameless.iter().filter_map(missing).collect();
        for (port, due) in missing {
            ledger.nameless.remove(&port);
            let what = format!(
                "{due} missing: the client at port {port} left in the handshake or in a head"
            );
            ledger.tally.violated(what);
        }
    }
}

impl Ledger {
    /// How many are not judged yet.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    fn exchange(&mut self, value: &Value, line: &str) {
        self.tally.exchanges += 1;
        let Some(id) = number(value) else {
            return self.nameless(value, line);
        };
        match self.open.get_mut(&id) {
            None => self.tally.violated(format!(
                "a second record, or one of a request that was never made: {line}"
            )),
            Some(entry) if entry.record.is_some() => {
                self.tally.violated(format!("a second record: {line}"));
            }
            Some(entry) => {
                entry.record = Some(Record::read(value, line));
                self.settle(id);
            }
        }
    }

    fn handshake(&mut self, value: &Value, line: &str) {
        self.tally.handshakes += 1;
        self.nameless(value, line);
    }

    fn nameless(&mut self, value: &Value, line: &str) {
        let port = value["client_port"]
            .as_u64()
            .and_then(|port| port.try_into().ok());
        let due = port.and_then(|port: u16| Some((port, self.nameless.get_mut(&port)?)));
        let Some((port, nameless)) = due else {
            return self
                .tally
                .violated(format!("nobody left like this: {line}"));
        };
        nameless.due -= 1;
        if nameless.due == 0 {
            self.nameless.remove(&port);
        }
        self.tally
            .nameless(value["reason"].as_str().unwrap_or_default());
    }

    /// Judges a request that both is over and has its record.
    fn settle(&mut self, id: u64) {
        let is_complete = |entry: &Entry| entry.outcome.is_some() && entry.record.is_some();
        if !self.open.get(&id).is_some_and(is_complete) {
            return;
        }
        let Some(entry) = self.open.remove(&id) else {
            return;
        };
        if let (Some(outcome), Some(record)) = (&entry.outcome, &entry.record) {
            match verdict::judge(&entry, outcome, record, &self.urls) {
                Ok(ending) => self.tally.settled(&entry.plan, ending, outcome),
                Err(why) => self.tally.violated(format!(
                    "request {id}: {why}\n    {}\n    {outcome:?}\n    {}",
                    entry.story(),
                    record.line
                )),
            }
        }
    }

    fn give_up(&mut self, id: u64) {
        let Some(entry) = self.open.remove(&id) else {
            return;
        };
        let missing = match (&entry.outcome, &entry.record) {
            (Some(outcome), None) => format!("no record; {outcome:?}"),
            (None, Some(record)) => format!("not over for its client; {}", record.line),
            _ => "neither over for its client nor recorded".to_owned(),
        };
        let what = format!("request {id}: {missing}\n    {}", entry.story());
        self.tally.violated(what);
    }
}

/// The number in a record's path, `/get/17`.
fn number(record: &Value) -> Option<u64> {
    let path = record["path"].as_str()?;
    path.strip_prefix('/')?.split_once('/')?.1.parse().ok()
}

/// For how long a closed connection may look open to the sidecar.
const UNSEEN: Duration = Duration::from_millis(200);
