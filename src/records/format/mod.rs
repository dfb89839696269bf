//! How a record looks: as JSON, which the ring keeps, too; as a line of the `combined` format; or as text for people.

mod combined;
mod fields;
mod json;
mod keys;
mod text;

use serde_json::{Map, Value};
use tracing::Event;

pub(crate) use fields::Fields;
pub(super) use json::{format as write_json, quote};
pub(super) use keys::Keys;
pub(crate) use text::write as write_text;

/// `--log-format`, where it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// As Apache and nginx write it.
    Combined,
    /// For people, in colours where they are wanted.
    Text {
        /// Whether they are.
        colour: bool,
    },
}

/// The beginning of a text, as long as anybody wants to keep one, and what stands for the rest.
pub(crate) fn cut(text: &str) -> (&str, &'static str) {
    match text.len() {
        ..=LONGEST => (text, ""),
        _ => (&text[..text.floor_char_boundary(LONGEST)], "…"),
    }
}

/// Bytes of one text in a record: a path or a user agent may be longer.
const LONGEST: usize = 1024;

impl Format {
    /// Writes a record, whose JSON is `line`, without the end of the line.
    pub(super) fn write(
        self,
        event: &Event<'_>,
        line: &[u8],
        fields: &mut Fields,
        out: &mut Vec<u8>,
    ) {
        if self == Self::Json {
            out.extend_from_slice(line);
            return;
        }
        fields.clear();
        event.record(fields);
        self.lay_out(fields, out);
    }

    /// The same of a record that was written as JSON.
    pub(super) fn lay_out_json(self, record: &Map<String, Value>) -> Vec<u8> {
        let mut out = Vec::new();
        self.lay_out(&Fields::from_json(record), &mut out);
        out
    }

    fn lay_out(self, fields: &Fields, out: &mut Vec<u8>) {
        match self {
            Self::Json => {}
            Self::Combined => combined::write(fields, out),
            Self::Text { colour } => text::write(fields, colour, out),
        }
    }
}
