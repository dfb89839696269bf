//! Texts on the screen: in inks or without, with units that fit, and none that a terminal would obey or that could move what
//! stands beside it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::super::rows::Parts;
use crate::terminal::{Ink, escaped};

/// How the screen looks: in the terminal's own colours, which suit its background, or in none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) colour: bool,
}

impl Look {
    /// The style of an ink.
    pub(super) fn style(self, ink: Ink) -> Style {
        let coloured = |colour| {
            if self.colour {
                Style::new().fg(colour)
            } else {
                Style::new()
            }
        };
        match ink {
            Ink::Plain => Style::new(),
            Ink::Bold => Style::new().add_modifier(Modifier::BOLD),
            Ink::Faint => Style::new().add_modifier(Modifier::DIM),
            Ink::Green => coloured(Color::Green),
            Ink::Cyan => coloured(Color::Cyan),
            Ink::Yellow => coloured(Color::Yellow),
            // What is wrong is seen without colours, too.
            Ink::Red => coloured(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    /// Parts as a line, each made safe.
    pub(super) fn line(self, parts: &Parts) -> Line<'static> {
        let spans = parts
            .iter()
            .map(|(ink, text)| Span::styled(safe(text), self.style(*ink)));
        Line::from_iter(spans)
    }
}

/// The text with everything escaped that does not take exactly one column: terminals do not agree on how wide the rest is.
pub(super) fn safe(text: &str) -> String {
    escaped(text, |letter| {
        !letter.is_ascii() && Span::raw(letter.encode_utf8(&mut [0; 4]) as &str).width() != 1
    })
}

/// A safe text in exactly so many columns.
pub(super) fn fitted(text: &str, width: usize) -> String {
    let text = safe(text);
    let length = text.chars().count();
    if length <= width {
        return format!("{text:<width$}");
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain((width > 0).then_some('…')).collect()
}

/// Writes a line into the first row of an area, as far as it fits. Where it does not, that is seen.
pub(super) fn put(buffer: &mut Buffer, area: Rect, line: &Line<'_>) {
    let area = area.intersection(buffer.area);
    if area.is_empty() {
        return;
    }
    buffer.set_line(area.x, area.y, line, area.width);
    if line.width() > usize::from(area.width)
        && let Some(last) = buffer.cell_mut((area.right() - 1, area.y))
    {
        last.set_symbol("…");
    }
}

/// So many a second.
pub(super) fn rate(rate: f64) -> String {
    format!("{}/s", pace(rate))
}

/// The same under a heading that says of what.
pub(super) fn pace(rate: f64) -> String {
    if rate <= 0.0 {
        "0".to_owned()
    } else if rate < 9.95 {
        // However seldom it is, it is not never.
        format!("{:.1}", rate.max(0.1))
    } else {
        grouped(rate.round() as u64)
    }
}

/// Digits in threes.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of a hundred; an empty text of nothing.
pub(super) fn percent(share: f64) -> String {
    match share {
        ..=0.0 => String::new(),
        ..0.0995 => format!("{:.1} %", (share * 100.0).max(0.1)),
        _ => format!("{:.0} %", share * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_take_one_column_is_escaped() {
        for (text, wanted) in [
            ("/café/ß", "/café/ß"),
            ("\u{1b}[2J\r\n", "\\x1b[2J\\x0d\\x0a"),
            ("\u{202e}", "\\u{202e}"),
            ("中", "\\u{4e2d}"),
            ("e\u{301}", "e\\u{301}"),
            ("👩\u{200d}👩", "\\u{1f469}\\u{200d}\\u{1f469}"),
            ("\\x1b", "\\\\x1b"),
        ] {
            assert_eq!(safe(text), wanted);
        }
    }

    #[test]
    fn a_fitted_text_is_exactly_so_wide() {
        for (text, width, wanted) in [
            ("/a", 4, "/a  "),
            ("/abcdef", 4, "/ab…"),
            ("/abc", 4, "/abc"),
            ("/a", 1, "…"),
            ("/a", 0, ""),
            ("\u{1b}", 3, "\\x…"),
        ] {
            assert_eq!(fitted(text, width), wanted);
        }
    }

    #[test]
    fn numbers_are_as_short_as_they_may_be() {
        for (number, wanted) in [
            (0.0, "0/s"),
            (0.01, "0.1/s"),
            (9.94, "9.9/s"),
            (9.96, "10/s"),
            (1234.5, "1,235/s"),
        ] {
            assert_eq!(rate(number), wanted);
        }
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.0, 0.0001, 0.05, 0.5, 1.0].map(percent),
            ["", "0.1 %", "5.0 %", "50 %", "100 %"]
        );
    }

    #[test]
    fn without_colours_there_are_none() {
        let inks = [Ink::Green, Ink::Cyan, Ink::Yellow, Ink::Red, Ink::Faint];
        for ink in inks {
            let style = Look { colour: false }.style(ink);
            assert_eq!((style.fg, style.bg), (None, None));
            assert_eq!(Look { colour: true }.style(ink).bg, None);
        }
    }
}
