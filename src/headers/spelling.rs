//! How names are written: by a client, and by the application.

use bytes::Bytes;

use super::strip::FRAMING;

/// The names of a message that are not written `Like-This`, as they are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spelling(Vec<Spelt>);

#[derive(Clone, Debug)]
struct Spelt {
    name: Bytes,
    /// How many fields of this name there are before it.
    before: usize,
}

impl Spelling {
    /// Those of a request's complete head.
    pub(crate) fn of_request(head: &[u8]) -> Self {
        let lines = head.split(|byte| *byte == b'\n').skip(1);
        let names = lines.filter_map(|line| Some(&line[..memchr::memchr(b':', line)?]));
        let mut spelling = Self::default();
        for (at, name) in names
            .clone()
            .enumerate()
            .filter(|(_, name)| !is_title_case(name))
        {
            let before = names
                .clone()
                .take(at)
                .filter(|other| other.eq_ignore_ascii_case(name));
            spelling.0.push(Spelt {
                before: before.count(),
                name: Bytes::copy_from_slice(name),
            });
        }
        spelling
    }

    /// Notes a name, which is part of these bytes, if it is to be noted; so many fields of that name came before it.
    pub(crate) fn note(&mut self, head: &Bytes, name: &str, before: impl FnOnce() -> usize) {
        if !is_title_case(name.as_bytes()) {
            self.0.push(Spelt {
                name: head.slice_ref(name.as_bytes()),
                before: before(),
            });
        }
    }

    /// None if all are as they are usually written.
    pub(crate) fn if_any(self) -> Option<Self> {
        (!self.0.is_empty()).then_some(self)
    }
}

/// Spells the names of a message one after the other; those that are the same follow each other.
#[derive(Debug)]
pub(crate) struct Speller<'a> {
    spelling: Option<&'a Spelling>,
    last: &'a [u8],
    /// Fields of the last name so far.
    count: usize,
}

impl<'a> Speller<'a> {
    pub(crate) fn new(spelling: Option<&'a Spelling>) -> Self {
        Self {
            spelling,
            last: &[],
            count: 0,
        }
    }

    /// How the next name is written, if otherwise than usual.
    pub(crate) fn next(&mut self, name: &'a [u8]) -> Option<&'a [u8]> {
        let spelling = self.spelling?;
        self.count = if self.last.eq_ignore_ascii_case(name) {
            self.count + 1
        } else {
            0
        };
        self.last = name;
        let is =
            |spelt: &&Spelt| spelt.before == self.count && spelt.name.eq_ignore_ascii_case(name);
        spelling.0.iter().find(is).map(|spelt| &spelt.name[..])
    }
}

/// Writes a name `Like-This`, of which no letter is a capital.
pub(crate) fn write_usual(to: &mut Vec<u8>, name: &[u8]) {
    let start = to.len();
    to.extend_from_slice(name);
    let mut at = start;
    while let Some(first) = to.get_mut(at) {
        first.make_ascii_uppercase();
        let hyphen = to[at..].iter().position(|byte| *byte == b'-');
        at += hyphen.map_or(to.len(), |hyphen| hyphen + 1);
    }
}

/// Whether an application is to see the names as this client has written them, and sees others when nobody remembers them: one
/// that is not written `Like-This`, as all are written where nothing else is said.
pub(crate) fn has_own_spelling<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut has_own = false;
    for name in names.filter(|name| !is_title_case(name.as_bytes())) {
        if is_oddly_spelt(name) {
            return false;
        }
        has_own = true;
    }
    has_own
}

/// Whether this is a name of ours or one that frames the message, and not written as applications look for it. Some look for
/// that spelling alone: under the client's they would miss what we say, or where the body ends.
fn is_oddly_spelt(name: &str) -> bool {
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    if OWN.iter().any(is) {
        return !matches!(name, "X-Real-IP" | "X-Request-ID");
    }
    FRAMING.iter().any(is) && name != "TE" && name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Each part begins with a capital letter, and has no other.
fn is_title_case(name: &[u8]) -> bool {
    let mut is_first = true;
    name.iter().all(|byte| {
        let is_usual = byte.is_ascii_uppercase() == is_first;
        is_first = *byte == b'-';
        is_usual
    })
}

/// What we set.
const OWN: [&str; 8] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-client-cert",
    "x-real-ip",
    "x-request-id",
    "forwarded",
];
