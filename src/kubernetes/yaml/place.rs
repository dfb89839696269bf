//! Where in a text lines begin and end, and where something new belongs.

use std::ops::Range;

use super::node::{Entry, Node};

/// The start of the line that a byte is in.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before.rfind('\n').map_or(0, |feed| feed + 1)
}

/// Past the end of the line that a byte is in, and past its line feed.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let after = text.get(at..).unwrap_or_default();
    after.find('\n').map_or(text.len(), |feed| at + feed + 1)
}

/// How this text ends its lines.
pub(super) fn line_feed(text: &str) -> &'static str {
    match text.find('\n') {
        Some(feed) if text.get(..feed).is_some_and(|line| line.ends_with('\r')) => "\r\n",
        _ => "\n",
    }
}

/// Behind something that ends in the line of `end`: past the comments, too, that stand in `column` or further in, as what
/// is written there belongs to it.
pub(super) fn behind(text: &str, end: usize, column: usize) -> usize {
    let mut place = line_end(text, end);
    let mut next = place;
    while next < text.len() {
        let after = line_end(text, next);
        let line = text.get(next..after).unwrap_or_default();
        let content = line.trim_start_matches(' ');
        if content.starts_with('#') && line.len() - content.len() >= column {
            place = after;
        } else if !content.trim_end().is_empty() {
            break;
        }
        next = after;
    }
    place
}

/// In front of something that begins a line: and of the comments right above, which are about it.
pub(super) fn front(text: &str, line: usize, column: usize) -> usize {
    let mut place = line;
    while place > 0 {
        let above = line_start(text, place - 1);
        let content = text.get(above..place).unwrap_or_default();
        let trimmed = content.trim_start_matches(' ');
        if !trimmed.starts_with('#') || content.len() - trimmed.len() != column {
            break;
        }
        place = above;
    }
    place
}

/// The whole lines of an entry that begins a line of its own.
pub(super) fn lines_of_entry(text: &str, entry: &Entry) -> Option<Range<usize>> {
    let start = line_start(text, entry.key.span.start);
    let indent = text.get(start..entry.key.span.start)?;
    indent
        .bytes()
        .all(|byte| byte == b' ')
        .then(|| start..line_end(text, entry.end()))
}

/// The column of an item's dash, and the start of the line that has only that in front of the item, or comments behind it.
pub(super) fn dash(text: &str, item: &Node) -> Option<(usize, usize)> {
    let mut end = item.span.start;
    loop {
        let start = line_start(text, end);
        let line = text.get(start..end)?;
        let content = match line.find('#') {
            Some(comment) => line.get(..comment)?,
            None => line,
        };
        let content = content.trim_end_matches([' ', '\t', '\r', '\n']);
        if let Some(column) = content.strip_suffix('-') {
            let is_indent = column.bytes().all(|byte| byte == b' ');
            return is_indent.then_some((column.len(), start));
        }
        if !content.is_empty() || start == 0 {
            return None;
        }
        end = start - 1;
    }
}
