//! How a text is written, so that what is new looks like what is there.

use serde_json::Value;

use super::place::line_feed;
use super::render::flow;

/// What is between the bracket of a flow collection and the first that is in it: so are the others separated.
pub(super) fn gap(text: &str, start: usize, first: usize) -> String {
    let gap = text.get(start..first).unwrap_or_default();
    match gap.trim_start_matches(|letter: char| !letter.is_whitespace()) {
        gap if gap.contains('\n') && gap.trim().is_empty() => {
            format!("\n{}", gap.rsplit('\n').next().unwrap_or_default())
        }
        _ => " ".to_owned(),
    }
}

/// In lines of its own, as kubectl prints JSON, where the things beside it are.
pub(super) fn spread(text: &str, gap: &str, value: &Value) -> String {
    let is_json = is_json(text);
    if !is_json || !gap.contains('\n') {
        return flow(value, is_json);
    }
    let pretty = format!("{value:#}");
    let mut lines = pretty.lines().map(|line| {
        let content = line.trim_start_matches(' ');
        format!("{}{content}", " ".repeat(2 * (line.len() - content.len())))
    });
    let first = lines.next().unwrap_or_default();
    lines.fold(first, |all, line| format!("{all}{gap}{line}"))
}

/// Whether the document is JSON, in which everything is quoted.
pub(super) fn is_json(text: &str) -> bool {
    let inside = text.trim_start().strip_prefix('{');
    inside.is_some_and(|inside| inside.trim_start().starts_with(['"', '}']))
}

pub(super) fn feeds(text: &str, new: &str) -> String {
    match line_feed(text) {
        "\n" => new.to_owned(),
        feed => new.replace('\n', feed),
    }
}
