//! How a client writes the names that matter.

use super::strip::FRAMING;

/// Whether an application is to see the names as this client has written them, and sees others when nobody remembers them: one
/// that is not written `Like-This`, as hyper writes them all where nothing else is said.
pub(crate) fn has_own_spelling<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut has_own = false;
    for name in names.filter(|name| !is_title_case(name)) {
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
fn is_title_case(name: &str) -> bool {
    let is_capital = |(at, byte): (usize, u8)| byte.is_ascii_uppercase() == (at == 0);
    let mut parts = name.split('-');
    parts.all(|part| part.bytes().enumerate().all(is_capital))
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
