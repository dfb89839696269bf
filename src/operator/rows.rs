//! Answers for people: a label, and what it is about, line by line.

use serde_json::Value;

use crate::terminal::{Ink, Pen};

/// Parts of a row.
pub(super) type Parts = Vec<(Ink, String)>;

/// Writes the rows that have something to say.
pub(super) fn draw<'a>(rows: impl IntoIterator<Item = (&'a str, Parts)>, colour: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let known = rows.into_iter().filter(|(_, parts)| !parts.is_empty());
    for (label, parts) in known {
        let mut pen = Pen {
            out: &mut out,
            colour,
        };
        pen.column(Ink::Faint, label, LABEL);
        for (ink, text) in parts {
            pen.put(ink, &text);
        }
        out.push(b'\n');
    }
    out
}

/// A row's only part.
pub(super) fn one(ink: Ink, text: impl Into<String>) -> Parts {
    vec![(ink, text.into())]
}

/// A plain row of a text that may be absent.
pub(super) fn known(value: &Value) -> Parts {
    let text = value.as_str().map(|text| one(Ink::Plain, text));
    text.unwrap_or_default()
}

/// The texts of a list.
pub(super) fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().map(text)
}

/// A text, or what stands for none.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// Width of the labels.
const LABEL: usize = 11;
