//! The help, over the rest of the screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use super::text::{Look, put};
use crate::terminal::Ink;

/// Draws it in the middle.
pub(super) fn draw(area: Rect, buffer: &mut Buffer, look: Look) {
    let area = area.intersection(buffer.area);
    let height = u16::try_from(LINES.len() + 2).unwrap_or(u16::MAX);
    let area = area.centered(
        ratatui::layout::Constraint::Length(WIDTH.min(area.width)),
        ratatui::layout::Constraint::Length(height.min(area.height)),
    );
    Clear.render(area, buffer);
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .title(" help ");
    let inner = block.inner(area);
    block.render(area, buffer);
    for (y, (key, words)) in (inner.y..inner.bottom()).zip(LINES) {
        let line = Line::from(vec![
            Span::styled(format!(" {key:<13}"), look.style(Ink::Bold)),
            Span::raw(words),
        ]);
        put(
            buffer,
            Rect {
                y,
                height: 1,
                ..inner
            },
            &line,
        );
    }
}

const WIDTH: u16 = 76;
const LINES: [(&str, &str); 17] = [
    ("q  Ctrl-C", "quit"),
    (
        "p  Space",
        "pause: the screen stands still, counting goes on",
    ),
    (
        "s",
        "sort paths and clients: most requests, most errors, slowest",
    ),
    ("Tab", "the next table; ▸ marks the one in hand"),
    ("↑ ↓  j k", "scroll it; PgUp, PgDn, Home and End, too"),
    ("r", "reset: tables and chart begin anew"),
    ("Ctrl-L", "paint the screen again"),
    ("?  Esc", "this help, and away with it"),
    ("", ""),
    (
        "requests",
        "of the last interval; all other rates are of the last ten",
    ),
    (
        "answers",
        "by status; none: the client was gone before one was sent",
    ),
    (
        "failed",
        "what has a reason in its record; by the word for why",
    ),
    (
        "latency",
        "of whole exchanges, from the sidecar's histogram",
    ),
    ("application", "of what it took to begin its answer"),
    (
        "errors",
        "of a table: failed, or answered with 5xx by the application",
    ),
    (
        "(others)",
        "more than 512 paths: those that were asked for least",
    ),
    ("missed", "records that came faster than they could be sent"),
];
