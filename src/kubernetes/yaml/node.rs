//! The nodes of a document, each with its place in the text.

use std::ops::Range;

use crate::kubernetes::change::{Path, Step};

/// Something in a document.
#[derive(Debug)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) body: Body,
    /// Its bytes, with an anchor or tag in front; empty where there is nothing, which is null.
    pub(crate) span: Range<usize>,
    /// Where its content begins: in spaces from the start of the line.
    pub(crate) column: usize,
    /// The number by which aliases mean it; 0 is none.
    pub(crate) anchor: usize,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Body {
    /// A scalar; plain ones may mean something else than text.
    Scalar { text: String, is_plain: bool },
    /// A list: `- a`, or `[a]`.
    List { is_flow: bool, items: Vec<Node> },
    /// A mapping: `a: b`, or `{a: b}`.
    Map { is_flow: bool, entries: Vec<Entry> },
    /// Stands for the node with that anchor.
    Alias(usize),
}

/// A key and its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Node,
    /// Behind the colon.
    pub(crate) behind_key: usize,
    pub(crate) value: Node,
}

impl Entry {
    /// Where its last byte is past.
    pub(crate) fn end(&self) -> usize {
        self.value.span.end.max(self.behind_key)
    }

    /// From behind the colon to the end of the value.
    pub(crate) fn region(&self) -> Range<usize> {
        self.behind_key..self.end()
    }
}

impl Node {
    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.body {
            Body::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The entry of a mapping.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.body {
            Body::Map { entries, .. } => entries.iter().find(|entry| entry.key.text() == Some(key)),
            _ => None,
        }
    }

    /// One step further in; not through an alias.
    pub(crate) fn step(&self, step: &Step) -> Option<&Self> {
        match (step, &self.body) {
            (Step::Key(key), _) => self.entry(key).map(|entry| &entry.value),
            (Step::Item(item), Body::List { items, .. }) => items.get(*item),
            (Step::Item(_), _) => None,
        }
    }

    /// What is at a place, not through an alias.
    pub(crate) fn at(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, Self::step)
    }

    /// The byte that tells people best where a place is: as far in as there is something.
    pub(crate) fn nearest(&self, path: &Path) -> usize {
        let (mut node, mut at) = (self, self.span.start);
        for step in &path.0 {
            let Some(next) = node.step(step) else { break };
            at = match step {
                Step::Key(key) => node.entry(key).map_or(at, |entry| entry.key.span.start),
                Step::Item(_) => next.span.start,
            };
            node = next;
        }
        at
    }

    /// All that is in it, itself first.
    pub(crate) fn walk<'a>(&'a self, see: &mut impl FnMut(&'a Self)) {
        see(self);
        match &self.body {
            Body::List { items, .. } => items.iter().for_each(|item| item.walk(see)),
            Body::Map { entries, .. } => entries.iter().for_each(|entry| {
                entry.key.walk(see);
                entry.value.walk(see);
            }),
            Body::Scalar { .. } | Body::Alias(_) => {}
        }
    }
}

/// The key whose value's entries are those of the mapping, too.
pub(crate) const MERGE: &str = "<<";
