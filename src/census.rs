//! What connections are, so that the end of a drain can say what was drained and what was cut.

use std::cell::Cell;
use std::fmt;
use std::ops::AddAssign;
use std::rc::Rc;

/// What a connection is doing, by which it is counted when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not beyond its TLS handshake.
    Handshake,
    /// HTTP/1, between two requests or in one.
    Http1,
    /// HTTP/2.
    Http2,
    /// A connection of HTTP/1 that has become another protocol's, WebSocket most of the time.
    Upgraded,
}

/// What is known of one connection to whoever counts it, and told by whoever serves it.
#[derive(Debug)]
pub(crate) struct Presence {
    kind: Cell<Kind>,
    was_cut: Cell<bool>,
}

impl Presence {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            kind: Cell::new(Kind::Handshake),
            was_cut: Cell::new(false),
        })
    }

    /// From now on it is one of these.
    pub(crate) fn becomes(&self, kind: Kind) {
        self.kind.set(kind);
    }

    /// Something on it was not let come to its own end.
    pub(crate) fn was_cut(&self) {
        self.was_cut.set(true);
    }
}

/// Connections by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally([usize; 4]);

/// The connections that ended since a drain closed the doors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Those that came to their own end.
    pub(crate) drained: Tally,
    /// Those that had to be cut.
    pub(crate) cut: Tally,
}

/// What one worker writes down while a drain goes on.
#[derive(Debug, Default)]
pub(crate) struct Book {
    ends: Cell<Ends>,
    is_cutting: Cell<bool>,
}

impl Book {
    /// A connection has ended.
    pub(crate) fn ended(&self, one: &Presence) {
        let kind = one.kind.get();
        let mut ends = self.ends.get();
        let tally = if self.is_cutting.get() || one.was_cut.get() {
            &mut ends.cut
        } else {
            &mut ends.drained
        };
        tally.count(kind);
        self.ends.set(ends);
    }

    /// Whatever ends from now on does not do so by itself.
    pub(crate) fn begin_cutting(&self) {
        self.is_cutting.set(true);
    }

    /// What is written so far.
    pub(crate) fn ends(&self) -> Ends {
        self.ends.get()
    }
}

impl Kind {
    const ALL: [Self; 4] = [Self::Handshake, Self::Http1, Self::Http2, Self::Upgraded];

    fn word(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Upgraded => "upgraded",
        }
    }
}

impl Tally {
    /// One more of this kind.
    pub(crate) fn count(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// Of all kinds.
    pub(crate) fn sum(&self) -> usize {
        self.0.iter().sum()
    }

    /// Each kind that there is, by its word.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let all = Kind::ALL.into_iter().zip(self.0);
        all.filter(|(_, count)| *count > 0)
            .map(|(kind, count)| (kind.word(), count))
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine += others;
        }
    }
}

impl AddAssign for Ends {
    fn add_assign(&mut self, other: Self) {
        self.drained += other.drained;
        self.cut += other.cut;
    }
}

/// `3 http1, 1 upgraded`, or `none`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut apart = "";
        for (word, count) in self.each() {
            write!(f, "{apart}{count} {word}")?;
            apart = ", ";
        }
        if apart.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_names_what_there_is() {
        let mut tally = Tally::default();
        assert_eq!(tally.to_string(), "none");
        for kind in [Kind::Http1, Kind::Upgraded, Kind::Http1] {
            tally.count(kind);
        }
        let mut twice = tally;
        twice += tally;
        assert_eq!(
            (tally.sum(), twice.to_string()),
            (3, "4 http1, 2 upgraded".to_owned())
        );
    }
}
