//! The findings for people: a line each, and below it the line that fixes it.

use super::finding::{Finding, State};
use crate::terminal::{Ink, Pen};

/// The whole page.
pub(super) fn draw(findings: &[Finding], colour: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let width = findings.iter().map(|found| found.check.len()).max();
    let width = width.unwrap_or_default();
    for found in findings {
        let mut pen = Pen {
            out: &mut out,
            colour,
        };
        pen.column(ink(found.state), found.state.word(), STATE);
        pen.column(Ink::Faint, found.check, width);
        pen.put(Ink::Plain, &found.finding);
        pen.out.push(b'\n');
        if let Some(fix) = &found.fix {
            pen.column(Ink::Plain, "", STATE);
            pen.column(Ink::Plain, "", width);
            pen.put(Ink::Cyan, "→ ");
            pen.put(Ink::Plain, fix);
            pen.out.push(b'\n');
        }
    }
    out
}

/// How many of what, worst first.
pub(super) fn summary(findings: &[Finding]) -> String {
    let count = |state| findings.iter().filter(|found| found.state == state).count();
    let words = |state: State| match count(state) {
        0 => None,
        1 => Some(format!("1 {}", state.word())),
        many => Some(format!("{many} {}s", state.word())),
    };
    let words: Vec<_> = [State::Problem, State::Warning, State::Note]
        .into_iter()
        .filter_map(words)
        .collect();
    if words.is_empty() {
        "all is well".to_owned()
    } else {
        words.join(", ")
    }
}

fn ink(state: State) -> Ink {
    match state {
        State::Ok => Ink::Green,
        State::Note => Ink::Faint,
        State::Warning => Ink::Yellow,
        State::Problem => Ink::Red,
    }
}

/// The longest word of a state.
const STATE: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_aligned_and_a_fix_stands_below() {
        let findings = [
            State::Ok.of("clock", "right"),
            State::Problem.of("plain port", "open").fix("close it"),
        ];
        assert_eq!(
            String::from_utf8(draw(&findings, false)).unwrap(),
            "\
ok       clock       right
problem  plain port  open
                     → close it
"
        );
        assert_eq!(summary(&findings), "1 problem");
        assert_eq!(summary(&findings[..1]), "all is well");
        let many = [State::Note, State::Warning, State::Warning].map(|state| state.of("x", "y"));
        assert_eq!(summary(&many), "2 warnings, 1 note");
    }
}
