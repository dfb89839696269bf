//! Changes as edits of the text.

use std::cmp::Reverse;
use std::ops::Range;

use serde_json::Value;

use super::node::{Body, Node};
use super::place::{behind, dash, front, line_end, line_feed, line_start, lines_of_entry};
use super::render::{block, entries, flow, in_flow, items};
use super::style::{feeds, gap, is_json, spread};
use super::tree::Trouble;
use crate::kubernetes::change::{Change, Edit, Path, Step};

/// One edit: what is there gives way to a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Splice {
    at: Range<usize>,
    text: String,
    /// How far in it is: of two at the same byte the inner one comes first.
    depth: usize,
    /// It puts something new there: behind a value that is replaced, which may be nothing.
    adds: bool,
    /// It takes away whole lines.
    takes_lines: bool,
}

/// A text with all edits made, which do not overlap.
pub(crate) fn apply(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort_by_key(|splice| {
        (
            splice.at.start,
            splice.at.end,
            splice.adds,
            Reverse(splice.depth),
        )
    });
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for splice in &splices {
        out.push_str(text.get(done..splice.at.start).unwrap_or_default());
        out.push_str(&splice.text);
        done = splice.at.end.max(done);
    }
    out.push_str(text.get(done..).unwrap_or_default());
    // Without its last lines a text ends as it did before: without a line feed, where it had none.
    let lost_its_end = splices
        .iter()
        .any(|splice| splice.takes_lines && splice.at.end == text.len());
    if lost_its_end && !text.ends_with('\n') && out.ends_with('\n') {
        let ends = out.len() - line_feed(text).len();
        out.truncate(ends);
    }
    out
}

/// The edit that makes a change, and, for one that replaces something, what is replaced: from behind the colon on.
///
/// # Errors
/// Where what is to be changed is not written out there.
pub(crate) fn change(text: &str, root: &Node, change: &Change) -> Result<Splice, Trouble> {
    let Some((last, parent, node)) = parent_of(root, &change.at) else {
        return Err(not_there(root, &change.at));
    };
    let made = match change.edit {
        Edit::Replace => replace(text, node, last, &change.value),
        Edit::Add => add(text, node, last, &change.value),
    };
    let (at, new) = made.ok_or_else(|| not_there(root, &change.at))?;
    Ok(Splice {
        at,
        text: feeds(text, &new),
        depth: parent.len() + 1,
        takes_lines: false,
        adds: change.edit == Edit::Add,
    })
}

/// Takes away what an `Add` put there.
pub(crate) fn take(text: &str, root: &Node, path: &Path) -> Option<Splice> {
    let (last, parent, node) = parent_of(root, path)?;
    let (at, takes_lines) = match (last, &node.body) {
        (Step::Key(key), Body::Map { is_flow: false, .. }) => {
            (lines_of_entry(text, node.entry(key)?)?, true)
        }
        (Step::Key(key), Body::Map { entries, .. }) => {
            let place = entries
                .iter()
                .position(|entry| entry.key.text() == Some(key))?;
            let spans: Vec<_> = entries
                .iter()
                .map(|entry| entry.key.span.start..entry.end())
                .collect();
            (from_flow(&spans, place)?, false)
        }
        (
            Step::Item(item),
            Body::List {
                is_flow: false,
                items,
            },
        ) => {
            let item = items.get(*item)?;
            let (_, start) = dash(text, item)?;
            (start..line_end(text, item.span.end), true)
        }
        (Step::Item(item), Body::List { items, .. }) => {
            let spans: Vec<_> = items.iter().map(|item| item.span.clone()).collect();
            (from_flow(&spans, *item)?, false)
        }
        _ => return None,
    };
    Some(Splice {
        at,
        text: String::new(),
        depth: parent.len() + 1,
        takes_lines,
        adds: false,
    })
}

/// The first goes with what is between it and the next, the others with what is between them and the one before.
fn from_flow(spans: &[Range<usize>], place: usize) -> Option<Range<usize>> {
    let own = spans.get(place)?;
    match place.checked_sub(1) {
        Some(before) => Some(spans.get(before)?.end..own.end),
        None => Some(own.start..spans.get(1)?.start),
    }
}

/// Puts a text in place of what is there: from behind the colon on, or an item.
pub(crate) fn put(root: &Node, path: &Path, text: &str) -> Option<Splice> {
    let (last, parent, node) = parent_of(root, path)?;
    let (at, text) = (region(node, last)?, text.to_owned());
    Some(Splice {
        at,
        text,
        depth: parent.len() + 1,
        takes_lines: false,
        adds: false,
    })
}

/// What `put` would replace.
pub(crate) fn region(parent: &Node, last: &Step) -> Option<Range<usize>> {
    match (last, &parent.body) {
        (Step::Key(key), _) => Some(parent.entry(key)?.region()),
        (Step::Item(item), Body::List { items, .. }) => Some(items.get(*item)?.span.clone()),
        (Step::Item(_), _) => None,
    }
}

pub(crate) fn parent_of<'a, 'b>(
    root: &'a Node,
    path: &'b Path,
) -> Option<(&'b Step, &'b [Step], &'a Node)> {
    let (last, parent) = path.0.split_last()?;
    let node = parent.iter().try_fold(root, Node::step)?;
    Some((last, parent, node))
}

fn not_there(root: &Node, path: &Path) -> Trouble {
    let text = format!("{path} is not written here in a way that can be changed; write it out");
    Trouble {
        at: root.nearest(path),
        text,
    }
}

type Made = Option<(Range<usize>, String)>;

fn replace(text: &str, parent: &Node, last: &Step, value: &Value) -> Made {
    let at = region(parent, last)?;
    let new = match (last, &parent.body) {
        (Step::Key(key), Body::Map { is_flow: false, .. }) => {
            block(value, parent.entry(key)?.key.column)
        }
        (Step::Key(_), _) => format!(" {}", flow(value, is_json(text))),
        (Step::Item(_), _) => flow(value, is_json(text)),
    };
    Some((at, new))
}

fn add(text: &str, parent: &Node, last: &Step, value: &Value) -> Made {
    match (last, &parent.body) {
        (
            Step::Key(key),
            Body::Map {
                is_flow: false,
                entries: there,
            },
        ) => {
            let column = there.first()?.key.column;
            let mut lines = String::new();
            entries(
                &[(key.clone(), value.clone())].into_iter().collect(),
                column,
                &mut lines,
            );
            Some(lines_at(text, place_of(text, parent, key, column)?, &lines))
        }
        (Step::Key(key), Body::Map { entries, .. }) => {
            let (first, last) = (entries.first()?, entries.last()?);
            let gap = gap(text, parent.span.start, first.key.span.start);
            let new = format!(
                "{}: {}",
                in_flow(key, is_json(text)),
                spread(text, &gap, value)
            );
            let end = last.end();
            Some((end..end, format!(",{gap}{new}")))
        }
        (
            Step::Item(item),
            Body::List {
                is_flow: false,
                items: there,
            },
        ) => {
            let (column, _) = dash(text, there.first()?)?;
            let mut lines = String::new();
            items(std::slice::from_ref(value), column, &mut lines);
            let at = match there.get(*item) {
                Some(next) => front(text, dash(text, next)?.1, column),
                None => behind(text, there.last()?.span.end, column + 1),
            };
            Some(lines_at(text, at, &lines))
        }
        (Step::Item(item), Body::List { items, .. }) => {
            let gap = gap(text, parent.span.start, items.first()?.span.start);
            let new = spread(text, &gap, value);
            Some(match items.get(*item) {
                Some(next) => (next.span.start..next.span.start, format!("{new},{gap}")),
                None => {
                    let end = items.last()?.span.end;
                    (end..end, format!(",{gap}{new}"))
                }
            })
        }
        _ => None,
    }
}

/// Where a new key belongs: in front of one that it is read before, or behind all.
fn place_of(text: &str, map: &Node, key: &str, column: usize) -> Option<usize> {
    let before = BEFORE
        .iter()
        .find(|(new, _)| *new == key)
        .and_then(|(_, next)| map.entry(next));
    let Body::Map { entries, .. } = &map.body else {
        return None;
    };
    if let Some(lines) = before.and_then(|entry| lines_of_entry(text, entry)) {
        return Some(front(text, lines.start, column));
    }
    Some(behind(text, entries.last()?.end(), column))
}

/// Lines between lines; behind a last line that has no end they begin with one.
fn lines_at(text: &str, at: usize, lines: &str) -> (Range<usize>, String) {
    let is_open = at == text.len() && line_start(text, at) != at;
    let new = if is_open {
        format!("\n{lines}")
    } else {
        format!("{lines}\n")
    };
    (at..at, new)
}

/// New keys, and what they are read before.
const BEFORE: [(&str, &str); 2] = [("initContainers", "containers"), ("metadata", "spec")];
