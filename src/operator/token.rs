//! The token that proves who asks. It is read from a file, and never shown.

use std::fs;

use http::HeaderValue;

use super::Trouble;

/// What goes into `Authorization`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token(HeaderValue);

impl Token {
    /// The first token of the file that may write, else the first. The file is the sidecar's own, with lines
    /// `NAME SCOPE TOKEN`, or has a bare token.
    pub(super) fn read(path: &str) -> Result<Self, Trouble> {
        let wrong = |why: String| {
            Trouble::Usage(format!(
                "reading a token from {path:?} (--admin-token-file): {why}"
            ))
        };
        let text = fs::read_to_string(path).map_err(|error| {
            wrong(format!(
                "{error}; is it mounted, and may this user read it?"
            ))
        })?;
        choose(&text).map_err(wrong)
    }

    pub(super) fn header(&self) -> &HeaderValue {
        &self.0
    }
}

fn choose(text: &str) -> Result<Token, String> {
    let (mut reader, mut has_digest) = (None, false);
    for (at, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (may_write, token) = match words[..] {
            [] => continue,
            [first, ..] if first.starts_with('#') => continue,
            [token] | [_, "write", token] => (true, token),
            [_, "read", token] => (false, token),
            _ => {
                return Err(format!(
                    "line {at} is neither a token nor NAME SCOPE TOKEN, where SCOPE is read or write"
                ));
            }
        };
        if token.starts_with("sha256:") {
            has_digest = true;
            continue;
        }
        let token = sensitive(token).ok_or_else(|| {
            format!("the token of line {at} has letters that no request can carry")
        })?;
        if may_write {
            return Ok(token);
        }
        reader.get_or_insert(token);
    }
    reader.ok_or_else(|| {
        if has_digest {
            "it holds only digests (sha256:…), which prove nothing; give a file with the token itself".to_owned()
        } else {
            "there is none in it".to_owned()
        }
    })
}

fn sensitive(token: &str) -> Option<Token> {
    // Beyond ASCII a header's bytes mean what each side makes of them.
    let mut header = token
        .is_ascii()
        .then(|| HeaderValue::try_from(format!("Bearer {token}")).ok())??;
    header.set_sensitive(true);
    Some(Token(header))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_may_write_is_taken_else_the_first() {
        for (text, wanted) in [
            ("secret\n", "secret"),
            ("secret", "secret"),
            ("# of the operators\n\n  secret  \n", "secret"),
            ("ci read one\nops write two\nboss write three\n", "two"),
            ("ci read one\nmon read two\n", "one"),
            ("ops write sha256:00ff\nci read one\n", "one"),
            ("ops\twrite\ttwo\r\n", "two"),
        ] {
            let token = choose(text).unwrap();
            assert_eq!(token.header(), &format!("Bearer {wanted}"), "{text:?}");
        }
    }

    #[test]
    fn a_file_without_a_token_is_said_to_be_one_and_nothing_of_it_is_shown() {
        for (text, word) in [
            ("", "there is none"),
            ("# none yet\n", "there is none"),
            ("ops write sha256:5ec12e7\n", "only digests"),
            ("sha256:5ec12e7\n", "only digests"),
            ("ops admin 5ec12e7\n", "line 1 is neither"),
            ("\nops 5ec12e7\n", "line 2 is neither"),
            ("ops write 5ec12e7 more\n", "line 1 is neither"),
            ("5ec12e7é\n", "line 1"),
            ("5ec12e7\u{7f}\n", "line 1"),
        ] {
            let error = choose(text).unwrap_err();
            assert!(error.contains(word), "{text:?}: {error}");
            assert!(!error.contains("5ec12e7"), "{error}");
        }
        let shown = format!("{:?}", choose("5ec12e7").unwrap());
        assert!(!shown.contains("5ec12e7"), "{shown}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_matter_of_the_command_line() {
        let trouble = Token::read("/nowhere/token").unwrap_err();
        assert_eq!(trouble.code(), 2);
        let words = trouble.to_string();
        for part in ["/nowhere/token", "--admin-token-file", "No such file"] {
            assert!(words.contains(part), "{words}");
        }
    }
}
