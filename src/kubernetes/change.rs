//! What injection does to an object: a list of changes, each at its place. JSON Patch (RFC 6902) for the API server is made
//! of them, and so are the edits of a manifest's text.

use std::fmt;

use serde_json::{Value, json};

/// One step further into an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// To the value of a key.
    Key(String),
    /// To an item of a list.
    Item(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(item: usize) -> Self {
        Self::Item(item)
    }
}

/// Where something is, from the outside in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// The place one step further in.
    pub(crate) fn to(&self, step: impl Into<Step>) -> Self {
        self.to_step(step.into())
    }

    /// The place one step further in.
    pub(crate) fn to_step(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// The place of `inner`, which is told from here on.
    pub(crate) fn join(&self, inner: &Self) -> Self {
        Self(self.0.iter().chain(&inner.0).cloned().collect())
    }

    /// What is there in an object.
    pub(crate) fn of<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(object, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Item(item) => value.get(item),
        })
    }

    /// As a JSON Pointer (RFC 6901).
    pub(crate) fn pointer(&self) -> String {
        let step = |step: &Step| match step {
            Step::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Step::Item(item) => format!("/{item}"),
        };
        self.0.iter().map(step).collect()
    }
}

/// For people: `spec.containers[0].env`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if key.contains(['.', '/']) => write!(f, "[{key}]")?,
                Step::Key(key) if number == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

/// What is done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// A key that is not there yet; or an item in front of the one that is there, or behind the last.
    Add,
    /// The value that is there.
    Replace,
}

/// One change. Changes of one object are done one after the other, as those of a JSON Patch are; none lies inside of what
/// another one puts there, and none goes through an item behind one that another one adds to that list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// Where.
    pub(crate) at: Path,
    /// What.
    pub(crate) edit: Edit,
    /// What is there afterwards.
    pub(crate) value: Value,
}

impl Change {
    pub(crate) fn add(at: Path, value: impl Into<Value>) -> Self {
        let (edit, value) = (Edit::Add, value.into());
        Self { at, edit, value }
    }

    pub(crate) fn replace(at: Path, value: impl Into<Value>) -> Self {
        let (edit, value) = (Edit::Replace, value.into());
        Self { at, edit, value }
    }

    /// As an operation of a JSON Patch.
    pub(crate) fn operation(&self) -> Value {
        let op = match self.edit {
            Edit::Add => "add",
            Edit::Replace => "replace",
        };
        json!({ "op": op, "path": self.at.pointer(), "value": self.value })
    }
}

/// Something that is wrong, and where in the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where.
    pub(crate) at: Path,
    /// What is wrong, why, and what to try.
    pub(crate) text: String,
}

/// Something to know about what was done, or was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Where.
    pub(crate) at: Path,
    /// What was left, why, and what to do about it.
    pub(crate) text: String,
}
