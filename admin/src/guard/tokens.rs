//! The tokens that open the admin plane: who has them, and what they are good for.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Looking.
    Read,
    /// Looking and changing.
    Write,
}

/// All tokens of a file. Only their digests are kept.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Token>);

#[derive(Clone, Debug)]
struct Token {
    name: Arc<str>,
    scope: Scope,
    digest: [u8; DIGEST],
}

impl Tokens {
    /// Reads lines of `NAME SCOPE TOKEN`; what is empty or begins with `#` is passed over. A file that only has a bare token
    /// holds one of scope `write`, called `admin`. Instead of the token itself, its digest may stand there: `sha256:` and 64
    /// hex digits.
    ///
    /// # Errors
    /// What is wrong with which line, without the token.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Some editors begin a file with a byte order mark, which is no part of a token.
        let lines: Vec<(usize, Vec<&str>)> = text
            .trim_start_matches('\u{feff}')
            .lines()
            .enumerate()
            .map(|(number, line)| (number + 1, line.split_whitespace().collect::<Vec<_>>()))
            .filter(|(_, words)| words.first().is_some_and(|first| !first.starts_with('#')))
            .collect();
        let mut tokens = Self::default();
        match &lines[..] {
            [] => return Err("there is no token in it".to_owned()),
            [(number, words)] if words.len() == 1 => {
                tokens.add(*number, "admin", Scope::Write, words[0])?;
            }
            _ => {
                for (number, words) in &lines {
                    let [name, scope, token] = words[..] else {
                        return Err(format!(
                            "line {number} has {} words and not three: NAME read|write TOKEN",
                            words.len()
                        ));
                    };
                    tokens.add(*number, name, scope_of(*number, scope)?, token)?;
                }
            }
        }
        Ok(tokens)
    }

    fn add(&mut self, line: usize, name: &str, scope: Scope, token: &str) -> Result<(), String> {
        let digest = match token.strip_prefix("sha256:") {
            Some(hex) => from_hex(hex).ok_or_else(|| {
                format!(
                    "line {line}: sha256: is followed by 64 hex digits, as sha256sum prints them"
                )
            })?,
            None if token.len() < SHORTEST => {
                return Err(format!(
                    "line {line}: the token has {} characters, and fewer than {SHORTEST} could be guessed; make one with `openssl rand -hex 32`",
                    token.len()
                ));
            }
            None => sha256(token.as_bytes()),
        };
        if self.0.iter().any(|known| *known.name == *name) {
            return Err(format!(
                "line {line}: there is a token called {name} already"
            ));
        }
        if self.0.iter().any(|known| known.digest == digest) {
            return Err(format!("line {line}: this token has another name already"));
        }
        self.0.push(Token {
            name: name.into(),
            scope,
            digest,
        });
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whose token this is. It is compared with all of them, each time in full: how long that takes tells nothing.
    pub(crate) fn find(&self, presented: &[u8]) -> Option<(Arc<str>, Scope)> {
        let digest = sha256(presented);
        let mut found = None;
        for token in &self.0 {
            if verify_slices_are_equal(&digest, &token.digest).is_ok() {
                found = Some((Arc::clone(&token.name), token.scope));
            }
        }
        found
    }
}

fn scope_of(line: usize, word: &str) -> Result<Scope, String> {
    match word {
        "read" => Ok(Scope::Read),
        "write" => Ok(Scope::Write),
        // A line with its words in another order must not show its token in a log.
        _ => Err(format!(
            "line {line}: the second word is neither read nor write"
        )),
    }
}

fn sha256(bytes: &[u8]) -> [u8; DIGEST] {
    let mut out = [0; DIGEST];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

fn from_hex(hex: &str) -> Option<[u8; DIGEST]> {
    let mut out = [0; DIGEST];
    if hex.len() != 2 * DIGEST || !hex.is_ascii() {
        return None;
    }
    for (byte, at) in out.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

const DIGEST: usize = 32;
/// Characters of a token; 64 bits of one that is written in hex.
const SHORTEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    #[test]
    fn a_file_holds_named_tokens_or_one_bare_one() {
        let bare = Tokens::parse(&format!("{ONE}\n")).unwrap();
        assert_eq!(
            bare.find(ONE.as_bytes()),
            Some(("admin".into(), Scope::Write))
        );
        assert_eq!(bare.find(OTHER.as_bytes()), None);
        assert_eq!(bare.find(b""), None);
        let named = format!("# who may\n\nops  write {ONE}\ngrafana read\t{OTHER}\n");
        let named = Tokens::parse(&named).unwrap();
        assert_eq!(
            named.find(ONE.as_bytes()),
            Some(("ops".into(), Scope::Write))
        );
        assert_eq!(
            named.find(OTHER.as_bytes()),
            Some(("grafana".into(), Scope::Read))
        );
        assert_eq!(named.find(&ONE.as_bytes()[1..]), None);
    }

    #[test]
    fn a_digest_opens_for_its_token_and_not_for_itself() {
        // printf %s 0123456789abcdef0123456789abcdef | sha256sum
        let hex = "c9f5c0a1cd7d4b0a1f2e0e5b5e6b7a36";
        assert!(Tokens::parse(&format!("ops write sha256:{hex}")).is_err());
        let digest: String = sha256(ONE.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        let tokens = Tokens::parse(&format!("ops write sha256:{digest}")).unwrap();
        assert!(tokens.find(ONE.as_bytes()).is_some());
        assert!(tokens.find(digest.as_bytes()).is_none());
        assert!(tokens.find(format!("sha256:{digest}").as_bytes()).is_none());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_token() {
        for (text, wanted) in [
            ("", "no token"),
            ("# nothing\n", "no token"),
            ("tooshort", "has 8 characters"),
            ("ops write", "line 1 has 2 words"),
            (&format!("ops {ONE} write"), "neither read nor write"),
            (&format!("ops write {ONE}\n{OTHER}\n"), "line 2 has 1 words"),
            (
                &format!("ops write {ONE}\nops read {OTHER}"),
                "called ops already",
            ),
            (
                &format!("ops write {ONE}\nweb read {ONE}"),
                "another name already",
            ),
            (&format!("ops write sha256:{ONE}"), "64 hex digits"),
        ] {
            let error = Tokens::parse(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
            assert!(!error.contains(ONE), "{error}");
        }
    }
}
