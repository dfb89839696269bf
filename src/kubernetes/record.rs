//! What injection did to an object, as an annotation of it: enough to take it out again, byte for byte where nothing else
//! was changed since.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::change::{Change, Edit, Path, Step};
use super::yaml::{Body, Node};

/// The annotation. Who has it is injected.
pub(crate) const INJECTED: &str = "portcullis.dev/injected";

/// All that was done to an object.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// What was not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) added: Vec<Done>,
    /// What was something else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) replaced: Vec<Done>,
    /// What an alias or a merged key said, and had to be written out for the change of something else; from the start of the
    /// document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) written: Vec<Done>,
}

/// One change.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Done {
    /// Where: see `trail`.
    pub(crate) at: String,
    /// What of that is injection's, where others may have added to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) of: Vec<String>,
    /// The text that was there, from behind the colon on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) was: Option<String>,
    /// What is there instead, where it is one value.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(crate) is: Value,
}

impl Done {
    fn of(object: &Value, change: &Change, was: Option<String>) -> Self {
        let at = match change.edit {
            Edit::Add => added(object, change),
            Edit::Replace => trail(object, &change.at),
        };
        let mut of = Vec::new();
        own(&change.value, &at, &mut of);
        let is_one = of == [at.clone()];
        let is = if was.is_some() && is_one {
            change.value.clone()
        } else {
            Value::Null
        };
        let of = if is_one { Vec::new() } else { of };
        Self { at, of, was, is }
    }

    /// All that is injection's.
    pub(crate) fn own(&self) -> &[String] {
        if self.of.is_empty() {
            std::slice::from_ref(&self.at)
        } else {
            &self.of
        }
    }
}

/// The trail of what is not there yet: what is at its place moves on.
fn added(object: &Value, change: &Change) -> String {
    match change.at.0.split_last() {
        Some((Step::Item(_), list)) if name(&change.value).is_some() => {
            let list = trail(object, &Path(list.to_vec()));
            format!(
                "{list}/[{}]",
                escaped(name(&change.value).unwrap_or_default())
            )
        }
        _ => trail(object, &change.at),
    }
}

/// The parts of a value that others cannot have added to: named items of a list, and what is alone in a mapping.
fn own(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) if map.len() == 1 => {
            for (key, value) in map {
                own(value, &format!("{at}/{}", escaped(key)), found);
            }
        }
        Value::Array(items) if items.iter().all(|item| name(item).is_some()) => {
            found.extend(
                items
                    .iter()
                    .filter_map(|item| Some(format!("{at}/[{}]", name(item)?))),
            );
        }
        _ => found.push(at.to_owned()),
    }
}

fn name(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// A place in an object as a JSON Pointer, in which items of lists go by their names, `[portcullis]`, where they have one:
/// others may come before them.
fn trail(object: &Value, path: &Path) -> String {
    let (mut here, mut trail) = (Some(object), String::new());
    for step in &path.0 {
        let item = match step {
            Step::Item(item) => here.and_then(|list| only_name(list, *item)),
            Step::Key(_) => None,
        };
        match (item, step) {
            (Some(name), _) => trail.push_str(&format!("/[{}]", escaped(name))),
            (None, Step::Key(key)) => trail.push_str(&format!("/{}", escaped(key))),
            (None, Step::Item(item)) => trail.push_str(&format!("/{item}")),
        }
        here = here.and_then(|value| Path(vec![step.clone()]).of(value));
    }
    trail
}

/// The name of an item that no other of the list has.
fn only_name(list: &Value, item: usize) -> Option<&str> {
    let wanted = name(list.get(item)?)?;
    let items = list.as_array()?.iter();
    (items.filter(|item| name(item) == Some(wanted)).count() == 1).then_some(wanted)
}

/// The place that a trail leads to in a document, from `root` on.
pub(crate) fn follow(root: &Node, from: &Path, trail: &str) -> Option<Path> {
    let (mut node, mut path) = (root.at(from)?, from.clone());
    for part in trail.split('/').skip(1) {
        let step = match &node.body {
            Body::List { items, .. } => Step::Item(match part.strip_prefix('[') {
                Some(named) => {
                    let named = unescaped(named.strip_suffix(']')?);
                    items.iter().position(|item| {
                        item.entry("name").and_then(|entry| entry.value.text()) == Some(&*named)
                    })?
                }
                None => part.parse().ok()?,
            }),
            _ => Step::Key(unescaped(part)),
        };
        node = node.step(&step)?;
        path = path.to_step(step);
    }
    Some(path)
}

/// Where the annotation goes, and what is to be put there with it.
pub(crate) fn seat(object: &Value, annotation: Value) -> Change {
    let metadata = Path::default().to("metadata");
    let annotations = metadata.to("annotations");
    let wrap = |key: &str, value: Value| Value::Object(Map::from_iter([(key.to_owned(), value)]));
    let own = |value| wrap(INJECTED, value);
    match (metadata.of(object), annotations.of(object)) {
        (_, Some(Value::Object(map))) if !map.is_empty() => {
            Change::add(annotations.to(INJECTED), annotation)
        }
        (_, Some(_)) => Change::replace(annotations, own(annotation)),
        (Some(Value::Object(map)), None) if !map.is_empty() => {
            Change::add(annotations, own(annotation))
        }
        (Some(_), None) => Change::replace(metadata, wrap("annotations", own(annotation))),
        (None, _) => Change::add(metadata, wrap("annotations", own(annotation))),
    }
}

/// The changes of an object, and the annotation that says them. `was` tells the text of what is replaced.
pub(crate) fn seal(
    object: &Value,
    mut changes: Vec<Change>,
    written: Vec<Done>,
    was: impl Fn(&Path) -> String,
) -> Vec<Change> {
    let mut record = Record {
        written,
        ..Record::default()
    };
    // Of the annotation only the place counts.
    for change in changes.iter().chain([&seat(object, json!("…"))]) {
        match change.edit {
            Edit::Add => record.added.push(Done::of(object, change, None)),
            Edit::Replace => record
                .replaced
                .push(Done::of(object, change, Some(was(&change.at)))),
        }
    }
    let text = serde_json::to_string(&record).unwrap_or_default();
    changes.push(seat(object, Value::String(text)));
    changes
}

/// What an object says was done to it; none where it says nothing.
///
/// # Errors
/// Why the annotation is not understood.
pub(crate) fn of(object: &Value) -> Result<Option<Record>, String> {
    let Some(said) = object.pointer(&format!("/metadata/annotations/{}", escaped(INJECTED))) else {
        return Ok(None);
    };
    let text = said.as_str().ok_or("the annotation is no text")?;
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| format!("the annotation {INJECTED} is not understood: {error}"))
}
