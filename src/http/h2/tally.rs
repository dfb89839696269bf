//! What the frames of one connection say, both ways: the `h2` crate answers much by itself, and tells nobody.

use std::cell::{RefCell, RefMut};
use std::time::{Duration, Instant};

use h2::Reason as Code;
use http::StatusCode;

use super::budget::{ANSWER, Budget, DATA, IDLE_FRAME, LOST_REQUEST, REFUSED_REQUEST};
use super::scan::{FrameHead, Scan};
use crate::failure::Reason;

/// The account of one connection, kept by its I/O and read by its task.
#[derive(Debug)]
pub(super) struct Tally(RefCell<Account>);

#[derive(Debug)]
struct Account {
    received: Scan,
    sent: Scan,
    budget: Budget,
    /// Requests without an answer.
    open: Vec<Open>,
    /// So many of them are kept in mind.
    most: usize,
    /// The highest number of a stream so far.
    highest: u32,
    /// Since when a header block goes on in the next frame.
    block: Option<Instant>,
    /// Since when part of a frame is here.
    partial: Option<Instant>,
    lost: Vec<Lost>,
    goaway: Option<Code>,
}

#[derive(Debug)]
struct Open {
    stream: u32,
    since: Instant,
    /// Handed on: it has an exchange of its own.
    is_known: bool,
}

/// A request that nobody but the `h2` crate has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    stream: u32,
    pub(super) reason: Reason,
    /// Where it was answered, and not reset.
    pub(super) status: Option<StatusCode>,
}

impl Tally {
    /// For a connection with so many streams at once.
    pub(super) fn new(streams: u32) -> Self {
        Self(RefCell::new(Account {
            received: Scan::after_preface(),
            sent: Scan::default(),
            budget: Budget::new(streams),
            open: Vec::new(),
            most: 2 * streams as usize + SPARE,
            highest: 0,
            block: None,
            partial: None,
            lost: Vec::new(),
            goaway: None,
        }))
    }

    fn account(&self) -> RefMut<'_, Account> {
        self.0.borrow_mut()
    }

    /// Whether the client has sent anything at all.
    pub(super) fn has_begun(&self) -> bool {
        self.account().received.has_begun()
    }

    /// The client has sent this.
    pub(super) fn received(&self, bytes: &[u8]) {
        let account = &mut *self.account();
        let mut scan = std::mem::take(&mut account.received);
        let mut is_new = account.partial.is_none();
        scan.feed(bytes, |head, _| {
            account.comes(head);
            is_new = true;
        });
        if !scan.is_within(|head| head.kind != kind::DATA) {
            account.partial = None;
        } else if is_new {
            account.partial = Some(Instant::now());
        }
        account.received = scan;
    }

    /// The client is sent this.
    pub(super) fn sent(&self, bytes: &[u8]) {
        let account = &mut *self.account();
        let mut scan = std::mem::take(&mut account.sent);
        scan.feed(bytes, |head, payload| account.goes(head, payload));
        account.sent = scan;
    }

    /// This stream has an exchange of its own from now on.
    pub(super) fn known(&self, stream: u32) {
        let mut account = self.account();
        let open = account.open.iter_mut().rfind(|open| open.stream == stream);
        match open {
            Some(open) => open.is_known = true,
            // It was reset before it was handed on, and handed on all the same.
            None => account.lost.retain(|lost| lost.stream != stream),
        }
    }

    /// Requests of which nobody else will leave a record.
    pub(super) fn take_lost(&self) -> Vec<Lost> {
        let mut account = self.account();
        if account.lost.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut account.lost)
    }

    /// Whether the client has cost too much.
    pub(super) fn is_spent(&self) -> bool {
        self.account().budget.is_spent()
    }

    /// Since when the client owes the rest of a frame, or of a header block. That of DATA is its stream's business.
    pub(super) fn partial(&self) -> Option<Instant> {
        let account = self.account();
        account.block.or(account.partial)
    }

    /// Why the connection was ended by us, if it was.
    pub(super) fn ended(&self) -> Option<Reason> {
        match self.account().goaway? {
            Code::NO_ERROR => None,
            Code::ENHANCE_YOUR_CALM => Some(Reason::H2Abuse),
            _ => Some(Reason::H2Error),
        }
    }
}

impl Account {
    fn comes(&mut self, head: FrameHead) {
        match head.kind {
            kind::DATA if head.length > 0 || head.has(END_STREAM) => {}
            kind::HEADERS => {
                self.block = (!head.has(END_HEADERS)).then(Instant::now);
                if head.stream > self.highest {
                    self.highest = head.stream;
                    self.opens(head.stream);
                }
            }
            kind::CONTINUATION => {
                self.block = self.block.filter(|_| !head.has(END_HEADERS));
                self.budget.spend(IDLE_FRAME);
            }
            kind::RESET => {
                let open = self.close(head.stream);
                let is_left = open.is_some_and(|open| open.since.elapsed() < AT_ONCE);
                self.budget
                    .spend(if is_left { LOST_REQUEST } else { IDLE_FRAME });
            }
            _ => self.budget.spend(IDLE_FRAME),
        }
    }

    fn goes(&mut self, head: FrameHead, payload: &[u8]) {
        let code = |at: usize| {
            let bytes = payload
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            Code::from(bytes.map_or(0, u32::from_be_bytes))
        };
        match head.kind {
            kind::DATA => self.budget.earn(DATA),
            kind::HEADERS => {
                self.budget.earn(ANSWER);
                if self.closes_unseen(head.stream) {
                    // The only answer that the crate gives by itself.
                    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                    self.lose(
                        head.stream,
                        LOST_REQUEST,
                        Reason::HeadTooLarge,
                        Some(status),
                    );
                }
            }
            kind::RESET if self.closes_unseen(head.stream) => match code(0) {
                Code::REFUSED_STREAM => {
                    self.lose(head.stream, REFUSED_REQUEST, Reason::TooManyStreams, None)
                }
                _ => self.lose(head.stream, LOST_REQUEST, Reason::BadRequest, None),
            },
            kind::GOAWAY => self.goaway = Some(code(4)),
            _ => {}
        }
    }

    /// A request has begun. After a GOAWAY the crate ignores those that come, and nobody ends them.
    fn opens(&mut self, stream: u32) {
        if self.open.len() >= self.most {
            return self.budget.spend(LOST_REQUEST);
        }
        self.open.push(Open {
            stream,
            since: Instant::now(),
            is_known: false,
        });
    }

    /// A request that nobody will see. One who sends so many that he is sent away for it leaves no record for each.
    fn lose(&mut self, stream: u32, cost: i64, reason: Reason, status: Option<StatusCode>) {
        self.budget.spend(cost);
        if !self.budget.is_spent() {
            self.lost.push(Lost {
                stream,
                reason,
                status,
            });
        }
    }

    /// Whether a stream that ends here was never handed on.
    fn closes_unseen(&mut self, stream: u32) -> bool {
        self.close(stream).is_some_and(|open| !open.is_known)
    }

    /// It is not without an answer any more.
    fn close(&mut self, stream: u32) -> Option<Open> {
        let at = self.open.iter().position(|open| open.stream == stream)?;
        Some(self.open.swap_remove(at))
    }
}

/// RFC 9113, section 6.
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RESET: u8 = 3;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const CONTINUATION: u8 = 9;
}

/// Requests beyond twice the number of streams that may be without an answer.
const SPARE: usize = 1000;
/// Who leaves a request later than that had waited for its answer.
const AT_ONCE: Duration = Duration::from_secs(1);

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
