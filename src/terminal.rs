//! Texts for people at a terminal: in colours where they are wanted, with nothing in them that a terminal would obey, and with
//! units that fit.

use std::env;
use std::io::{self, IsTerminal, Write as _};

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// As it comes.
    Plain,
    /// Stands out.
    Bold,
    /// Matters less.
    Faint,
    /// In order.
    Green,
    /// Leads elsewhere.
    Cyan,
    /// To be looked at.
    Yellow,
    /// Wrong.
    Red,
}

impl Ink {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Green => "\x1b[32m",
            Self::Cyan => "\x1b[36m",
            Self::Yellow => "\x1b[33m",
            Self::Red => "\x1b[31m",
        }
    }
}

/// Whether stdout is to be written in colours, where nobody says so: on a terminal that has them, unless they are unwanted.
pub(crate) fn is_colourful() -> bool {
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    // https://no-color.org: set to anything but nothing.
    let is_unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_dumb && !is_unwanted
}

/// Writes texts that cannot move a cursor, forge a line or turn the reading order around.
#[derive(Debug)]
pub(crate) struct Pen<'a> {
    /// Where to.
    pub(crate) out: &'a mut Vec<u8>,
    /// Whether inks are seen.
    pub(crate) colour: bool,
}

impl Pen<'_> {
    /// Writes a text.
    pub(crate) fn put(&mut self, ink: Ink, text: &str) {
        self.inked(ink, text, is_unsafe);
    }

    /// Writes a text that is one word: spaces within are escaped, too, so that it cannot pass for what follows it.
    pub(crate) fn word(&mut self, ink: Ink, text: &str) {
        self.inked(ink, text, |letter| letter == ' ' || is_unsafe(letter));
    }

    /// Writes a text, and fills its column.
    pub(crate) fn column(&mut self, ink: Ink, text: &str, width: usize) {
        self.put(ink, text);
        let lacks = width.saturating_sub(text.chars().count());
        self.out.resize(self.out.len() + lacks, b' ');
        self.gap();
    }

    /// Writes the space between two columns.
    pub(crate) fn gap(&mut self) {
        self.out.resize(self.out.len() + GAP, b' ');
    }

    fn inked(&mut self, ink: Ink, text: &str, is_unsafe: impl Fn(char) -> bool) {
        let code = if self.colour { ink.code() } else { "" };
        self.out.extend_from_slice(code.as_bytes());
        let mut rest = text;
        while let Some(at) = rest.find(|letter| letter == '\\' || is_unsafe(letter)) {
            let (plain, from) = rest.split_at(at);
            self.out.extend_from_slice(plain.as_bytes());
            let mut letters = from.chars();
            escape(self.out, letters.next().unwrap_or_default());
            rest = letters.as_str();
        }
        self.out.extend_from_slice(rest.as_bytes());
        if !code.is_empty() {
            self.out.extend_from_slice(b"\x1b[0m");
        }
    }
}

/// The text with what is unsafe in it escaped, and what else is not wanted.
pub(crate) fn escaped(text: &str, is_unwanted: impl Fn(char) -> bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut pen = Pen {
        out: &mut out,
        colour: false,
    };
    pen.inked(Ink::Plain, text, |letter| {
        is_unsafe(letter) || is_unwanted(letter)
    });
    String::from_utf8_lossy(&out).into_owned()
}

fn escape(out: &mut Vec<u8>, letter: char) {
    let code = u32::from(letter);
    // Writing to a Vec cannot fail.
    let _ = match letter {
        '\\' => write!(out, "\\\\"),
        letter if letter.is_ascii() => write!(out, "\\x{code:02x}"),
        _ => write!(out, "\\u{{{code:x}}}"),
    };
}

/// Controls, and what is seen only by what it does to its surroundings: foreign spaces, joiners, marks of direction, tags.
pub(crate) fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || (letter.is_whitespace() && letter != ' ')
        || matches!(
            letter,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Milliseconds in three digits, in the unit that fits.
pub(crate) fn duration(ms: f64) -> String {
    match ms {
        ..9.995 => format!("{ms:.2} ms"),
        ..99.95 => format!("{ms:.1} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        ..9_995.0 => format!("{:.2} s", ms / 1e3),
        ..99_950.0 => format!("{:.1} s", ms / 1e3),
        _ => format!("{:.0} s", ms / 1e3),
    }
}

/// Bytes in the unit that fits.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut number, mut unit) = (bytes as f64 / 1024.0, 0);
    // What would be rounded to 1024 is one of the next.
    while number >= 1023.5 && unit + 1 < UNITS.len() {
        (number, unit) = (number / 1024.0, unit + 1);
    }
    let digits = usize::from(number < 9.95);
    format!("{number:.digits$} {}", UNITS[unit])
}

/// Between two columns.
pub(crate) const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_three_digits_and_the_unit_that_fits() {
        for (ms, wanted) in [
            (0.0, "0.00 ms"),
            (9.994, "9.99 ms"),
            (9.996, "10.0 ms"),
            (99.96, "100 ms"),
            (999.4, "999 ms"),
            (999.6, "1.00 s"),
            (9_996.0, "10.0 s"),
            (99_960.0, "100 s"),
            (86_400_000.0, "86400 s"),
        ] {
            assert_eq!(duration(ms), wanted);
        }
        for (bytes, wanted) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_189, "10 KiB"),
            (1_048_064, "1.0 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), wanted);
        }
    }
}
