//! What is meant to happen to a request: who asks for what over which protocol, and who is to break off.

use std::fmt;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A short answer.
    Get,
    /// A long one.
    Download,
    /// A body with a Content-Length. PUT may be sent again.
    Put,
    /// A body of unknown length. POST may not.
    Post,
    /// Messages both ways.
    WebSocket,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Wire {
    /// HTTP/1.1 on a connection that is kept.
    Kept,
    /// HTTP/1.1 on a connection of its own.
    Once,
    /// A stream of HTTP/2.
    H2,
}

/// Who breaks off, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nobody.
    Served,
    /// The application, with the connection, when that was used before: it may be sent again, and must be.
    MeetsStale,
    /// The application, before it has answered anything.
    DiesBeforeHead,
    /// The application, in the middle of its answer.
    DiesInBody,
    /// The client, in the middle of its request.
    LeavesInRequest,
    /// The client, in the middle of the answer.
    LeavesInResponse,
}

/// What the application does with the connection behind its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Keeps,
    /// Says so, and closes.
    Closes,
    /// Closes without a word: the next request on it meets a stale connection.
    Vanishes,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) wire: Wire,
    pub(crate) fate: Fate,
    /// Bytes of the request's body.
    pub(crate) up: usize,
    /// Bytes of the answer's; not for uploads, which are answered with what was seen of them.
    pub(crate) down: usize,
    /// Whether the answer's length is left open.
    pub(crate) is_chunked: bool,
    /// Whether who dies does so with a reset.
    pub(crate) is_reset: bool,
    pub(crate) after: After,
    /// What the application waits for in the middle of its work.
    pub(crate) pause_ms: u64,
}

impl Plan {
    pub(crate) fn new(kind: Kind, wire: Wire) -> Self {
        Self {
            kind,
            wire,
            fate: Fate::Served,
            up: 0,
            down: 0,
            is_chunked: false,
            is_reset: false,
            after: After::Keeps,
            pause_ms: 0,
        }
    }

    /// One of the many, at random: most are served, some meet a fault.
    pub(crate) fn any(rng: &mut fastrand::Rng, wire: Wire) -> Self {
        let kind = match rng.u8(..100) {
            0..50 => Kind::Get,
            50..70 => Kind::Download,
            70..85 => Kind::Put,
            _ => Kind::Post,
        };
        let mut plan = Self::new(kind, wire);
        match kind {
            Kind::Get => plan.down = rng.usize(..2_000),
            Kind::Download => plan.down = size(rng, 2_000..600_000),
            _ => plan.up = size(rng, 0..400_000),
        }
        plan.is_chunked = rng.u8(..3) == 0;
        plan.is_reset = rng.bool();
        plan.pause_ms = if rng.u8(..10) == 0 { rng.u64(..200) } else { 0 };
        plan.after = match rng.u8(..100) {
            0..3 => After::Closes,
            3..6 => After::Vanishes,
            _ => After::Keeps,
        };
        plan.fate = match rng.u8(..100) {
            0..2 => Fate::DiesBeforeHead,
            2..5 => Fate::DiesInBody,
            5..8 => Fate::LeavesInRequest,
            8..11 => Fate::LeavesInResponse,
            11..14 => Fate::MeetsStale,
            _ => Fate::Served,
        };
        plan.made_possible()
    }

    /// Sizes and waits without which the fate could not come about for certain.
    fn made_possible(mut self) -> Self {
        match self.fate {
            Fate::LeavesInRequest => {
                self.kind = Kind::Post;
                self.up = self.up.max(20_000);
            }
            Fate::DiesInBody | Fate::LeavesInResponse => {
                self.kind = Kind::Download;
                self.up = 0;
                self.down = self.down.max(20_000);
            }
            Fate::MeetsStale if self.kind == Kind::Post => self.kind = Kind::Put,
            _ => {}
        }
        if self.fate == Fate::LeavesInResponse {
            self.pause_ms = 1_000;
        }
        if self.fate == Fate::MeetsStale {
            self.up = self.up.min(SPOOL);
        }
        self
    }

    /// Whether a request that met a stale connection may be sent again, so that it must not fail.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self.kind {
            Kind::Get | Kind::Download => true,
            Kind::Put => self.up <= SPOOL,
            Kind::Post | Kind::WebSocket => false,
        }
    }

    /// Where the record has its number, and what the application is told, which is not in the record.
    pub(crate) fn target(&self, id: u64) -> String {
        let fault = match (self.fate, self.is_reset) {
            (Fate::MeetsStale, _) => "stale",
            (Fate::DiesBeforeHead, false) => "head-fin",
            (Fate::DiesBeforeHead, true) => "head-rst",
            (Fate::DiesInBody, false) => "body-fin",
            (Fate::DiesInBody, true) => "body-rst",
            _ => "none",
        };
        let after = match self.after {
            After::Keeps => "keeps",
            After::Closes => "closes",
            After::Vanishes => "vanishes",
        };
        format!(
            "/{}/{id}?down={}&chunked={}&pause={}&fault={fault}&after={after}",
            self.kind, self.down, self.is_chunked, self.pause_ms
        )
    }

    pub(crate) fn method(&self) -> &'static str {
        match self.kind {
            Kind::Put => "PUT",
            Kind::Post => "POST",
            _ => "GET",
        }
    }

    pub(crate) fn is_upload(&self) -> bool {
        matches!(self.kind, Kind::Put | Kind::Post)
    }
}

/// As many small ones as large ones.
fn size(rng: &mut fastrand::Rng, range: std::ops::Range<usize>) -> usize {
    let most = rng.usize(range.start..range.end) + 1;
    rng.usize(range.start.min(most - 1)..most)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Get => "get",
            Self::Download => "download",
            Self::Put => "put",
            Self::Post => "post",
            Self::WebSocket => "websocket",
        })
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kept => "http/1.1 kept",
            Self::Once => "http/1.1 once",
            Self::H2 => "http/2",
        })
    }
}

/// The default of `--spool`: what is longer is not kept to be sent again.
const SPOOL: usize = 64 * 1024;
