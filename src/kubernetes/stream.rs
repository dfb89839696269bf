//! A stream of documents as injection sees it: each as it was given, and as it is without an earlier injection.

use serde_json::Value;

use super::change::{Note, Path};
use super::erasing::erase;
use super::manifest::{Document, line_of, split, template};
use super::record;
use super::yaml::Trouble;

/// Something to tell about a place in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Remark {
    /// From 1 on.
    pub(crate) line: usize,
    /// From 1 on.
    pub(crate) column: usize,
    /// The object, where it is about one, and what there is to tell.
    pub(crate) text: String,
}

/// One document.
#[derive(Debug)]
pub(crate) struct Part {
    /// Lines before it.
    lines: usize,
    /// As it was given, where an earlier injection did something to it.
    given: Option<Document>,
    /// Without what an earlier injection did.
    pub(crate) bare: Document,
    /// What an earlier injection did and could not be taken out.
    pub(crate) notes: Vec<Note>,
    /// Where there was one.
    pub(crate) injected: Vec<Path>,
}

/// Reads a stream.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn read(text: &str) -> Result<Vec<Part>, Vec<Remark>> {
    let (mut parts, mut remarks, mut lines) = (Vec::new(), Vec::new(), 0);
    for range in split(text) {
        let text = text.get(range).unwrap_or_default();
        match part(text, lines) {
            Ok(part) => parts.push(part),
            Err(trouble) => {
                let (line, column) = line_of(text, trouble.at);
                let line = lines + line;
                remarks.push(Remark {
                    line,
                    column,
                    text: trouble.text,
                });
            }
        }
        lines += text.matches('\n').count();
    }
    if remarks.is_empty() {
        Ok(parts)
    } else {
        Err(remarks)
    }
}

fn part(text: &str, lines: usize) -> Result<Part, Trouble> {
    let given = Document::read(text.to_owned())?;
    let mut records = Vec::new();
    for holder in holders(&given) {
        let object = holder.of(&given.value).unwrap_or(&Value::Null);
        let record = record::of(object).map_err(|text| Trouble {
            at: given.root.as_ref().map_or(0, |root| root.nearest(&holder)),
            text,
        })?;
        records.extend(record.map(|record| (holder, record)));
    }
    if records.is_empty() {
        return Ok(Part {
            lines,
            given: None,
            bare: given,
            notes: Vec::new(),
            injected: Vec::new(),
        });
    }
    let (bare, notes) = erase(text, &records)?;
    Ok(Part {
        lines,
        given: Some(given),
        bare: Document::read(bare)?,
        notes,
        injected: records.into_iter().map(|(holder, _)| holder).collect(),
    })
}

/// What may have a record: templates of pods, and objects that are none.
fn holders(document: &Document) -> Vec<Path> {
    let holder = |object: Path| match object.of(&document.value).and_then(template) {
        Some(template) => object.join(&template),
        None => object,
    };
    document.objects().into_iter().map(holder).collect()
}

impl Part {
    /// A remark about a place, told from `from` on, in an object.
    pub(crate) fn remark(&self, object: &Path, from: &Path, inner: &Path, text: &str) -> Remark {
        let place = from.join(inner);
        let (line, column) = self.given.as_ref().unwrap_or(&self.bare).line_of(&place);
        let who = object.of(&self.bare.value).map(title).unwrap_or_default();
        let inside = Path(place.0.get(object.0.len()..).unwrap_or_default().to_vec());
        let separator = if inside.0.is_empty() { "" } else { ": " };
        let text = format!("{who}{separator}{inside}: {text}");
        Remark {
            line: self.lines + line,
            column,
            text,
        }
    }

    /// A remark about the document.
    pub(crate) fn trouble(&self, trouble: &Trouble) -> Remark {
        let (line, column) = line_of(&self.bare.text, trouble.at);
        let text = trouble.text.clone();
        Remark {
            line: self.lines + line,
            column,
            text,
        }
    }

    /// What could not be taken out.
    pub(crate) fn leftovers(&self) -> impl Iterator<Item = Remark> {
        let objects = self.bare.objects();
        self.notes.iter().map(move |note| {
            let is_its = |object: &&Path| note.at.0.starts_with(&object.0);
            let object = objects.iter().find(is_its).cloned().unwrap_or_default();
            self.remark(&object, &Path::default(), &note.at, &note.text)
        })
    }
}

/// An object for people: `Deployment web`.
pub(crate) fn title(object: &Value) -> String {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").or_else(|| text("/metadata/generateName"));
    let kind = text("/kind").unwrap_or("object");
    name.map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}"))
}
