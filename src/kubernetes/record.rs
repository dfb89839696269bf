//! What injection did to an object, as an annotation of it: enough to take it out again, byte for byte where nothing else
//! was changed since.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::change::{Change, Edit, Path, Step};
use super::yaml::{self, Body, Node};

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
        let is = match leaf(&change.value) {
            Some(leaf) if of.len() == 1 => leaf.clone(),
            _ => Value::Null,
        };
        let of = if of == [at.clone()] { Vec::new() } else { of };
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

/// The one value that a change puts there, where it is one.
fn leaf(value: &Value) -> Option<&Value> {
    match value {
        Value::Object(map) => map
            .values()
            .next()
            .filter(|_| map.len() == 1)
            .and_then(leaf),
        Value::Array(items) if items.iter().any(Value::is_object) => None,
        value => Some(value),
    }
}

/// The trail of what is not there yet: what is at its place moves on.
fn added(object: &Value, change: &Change) -> String {
    match change.at.0.split_last() {
        Some((Step::Item(_), list)) if name(&change.value).is_some() => {
            let list = trail(object, &Path(list.to_vec()));
            format!(
                "{list}/[{}]",
                escaped(&name(&change.value).unwrap_or_default())
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
                    .filter_map(|item| Some(format!("{at}/[{}]", escaped(&name(item)?)))),
            );
        }
        _ => found.push(at.to_owned()),
    }
}

/// What tells an item of a list from the others: its name, or the port of a Service that has none.
fn name(item: &Value) -> Option<String> {
    let port = || item.get("port").and_then(Value::as_u64);
    match item.get("name") {
        Some(name) => name.as_str().map(str::to_owned),
        None => port().map(|port| port.to_string()),
    }
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
            (Some(name), _) => trail.push_str(&format!("/[{}]", escaped(&name))),
            (None, Step::Key(key)) => trail.push_str(&format!("/{}", escaped(key))),
            (None, Step::Item(item)) => trail.push_str(&format!("/{item}")),
        }
        here = here.and_then(|value| Path(vec![step.clone()]).of(value));
    }
    trail
}

/// The name of an item that no other of the list has.
fn only_name(list: &Value, item: usize) -> Option<String> {
    let wanted = name(list.get(item)?)?;
    let items = list.as_array()?.iter();
    (items
        .filter(|item| name(item).as_ref() == Some(&wanted))
        .count()
        == 1)
        .then_some(wanted)
}

/// The place that a trail leads to in a document, from `root` on.
pub(crate) fn follow(root: &Node, from: &Path, trail: &str) -> Option<Path> {
    let (mut node, mut path) = (root.at(from)?, from.clone());
    let mut parts = trail.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let step = match &node.body {
            Body::List { items, .. } => Step::Item(match part.strip_prefix('[') {
                Some(named) => {
                    let named = unescaped(named.strip_suffix(']')?);
                    let found = items.iter().position(|item| is_named(root, item, &named));
                    // What is alone has another name by now.
                    let renamed = (items.len() == 1 && parts.peek().is_some()).then_some(0);
                    found.or(renamed)?
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

fn is_named(root: &Node, item: &Node, name: &str) -> bool {
    let text = |key| {
        let value = &item.entry(key)?.value;
        match value.text() {
            Some(text) => Some(text.to_owned()),
            // It may be an alias.
            None => match yaml::value_at(root, value).ok()? {
                Value::String(text) => Some(text),
                value => Some(value.to_string()),
            },
        }
    };
    text("name").or_else(|| text("port")).as_deref() == Some(name)
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
    let seat_of = |annotation| seat(object, annotation);
    for change in changes.iter().chain([&seat_of(json!(SEAT))]) {
        let was = (change.edit == Edit::Replace).then(|| was(&change.at));
        let mut done = Done::of(object, change, was);
        if done.is == SEAT {
            done.is = Value::Null;
        }
        match change.edit {
            Edit::Add => record.added.push(done),
            Edit::Replace => record.replaced.push(done),
        }
    }
    let text = serde_json::to_string(&record).unwrap_or_default();
    changes.push(seat_of(Value::String(text)));
    changes
}

const SEAT: &str = "…";

/// What an object says was done to it; none where it says nothing.
///
/// # Errors
/// Why the annotation is not understood.
pub(crate) fn of(object: &Value) -> Result<Option<Record>, String> {
    let Some(said) = object.pointer(&format!("/metadata/annotations/{}", escaped(INJECTED))) else {
        return Ok(None);
    };
    let text = said.as_str().ok_or("the annotation is no text")?;
    let record: Record = serde_json::from_str(text)
        .map_err(|error| format!("the annotation {INJECTED} is not understood: {error}"))?;
    if record.added.is_empty() && record.replaced.is_empty() {
        return Err(format!(
            "the annotation {INJECTED} does not say what was done"
        ));
    }
    Ok(Some(record))
}
