//! A manifest: a stream of documents, the objects in them, and the templates of pods in those.

use std::ops::Range;

use serde_json::Value;

use super::change::{Path, Step};
use super::pod::Owner;
use super::yaml::{self, Node, Trouble};

/// One document of a stream.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its text, from `---` to before the next.
    pub(crate) text: String,
    /// None where there are only comments.
    pub(crate) root: Option<Node>,
    /// What it says.
    pub(crate) value: Value,
}

impl Document {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with its text.
    pub(crate) fn read(text: String) -> Result<Self, Trouble> {
        let root = yaml::parse(&text)?;
        let value = root
            .as_ref()
            .map(yaml::value)
            .transpose()?
            .unwrap_or_default();
        Ok(Self { text, root, value })
    }

    /// The objects in it: itself, or the items of a list.
    pub(crate) fn objects(&self) -> Vec<Path> {
        let mut found = Vec::new();
        objects(&self.value, &Path::default(), &mut found);
        found
    }

    /// Line and column of a place, or of the nearest that is there, in the text; from 1 on.
    pub(crate) fn line_of(&self, path: &Path) -> (usize, usize) {
        let at = self.root.as_ref().map_or(0, |root| root.nearest(path));
        line_of(&self.text, at)
    }
}

/// Line and column of a byte, from 1 on.
pub(crate) fn line_of(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

fn objects(value: &Value, at: &Path, found: &mut Vec<Path>) {
    let kind = value
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match value.get("items") {
        Some(Value::Array(items)) if kind.ends_with("List") && at.0.len() < MAX_NESTED => {
            for (number, item) in items.iter().enumerate() {
                objects(item, &at.to("items").to(number), found);
            }
        }
        _ if !kind.is_empty() => found.push(at.clone()),
        _ => {}
    }
}

/// The template of pods in an object, or the object itself where it is a pod.
pub(crate) fn template(object: &Value) -> Option<Path> {
    let path: &[&str] = match object.get("kind")?.as_str()? {
        "Pod" => &[],
        "Deployment"
        | "StatefulSet"
        | "DaemonSet"
        | "ReplicaSet"
        | "ReplicationController"
        | "Job" => &["spec", "template"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template"],
        "PodTemplate" => &["template"],
        _ => return None,
    };
    Some(Path(path.iter().copied().map(Step::from).collect()))
}

/// Whether Helm makes it for a moment of a release: such pods serve nobody.
pub(crate) fn is_hook(object: &Value) -> bool {
    object
        .pointer("/metadata/annotations/helm.sh~1hook")
        .is_some()
}

/// What the pods of an object are of.
pub(crate) fn owner(object: &Value) -> Owner {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
    let kind = text("/kind").unwrap_or_default();
    let made = text("/metadata/generateName").map(|name| name.trim_end_matches('-'));
    Owner {
        name: text("/metadata/name").or(made).map(str::to_owned),
        is_job: matches!(kind, "Job" | "CronJob"),
    }
}

/// Where the documents of a stream are: all of it, so that they make the stream again when they are put together.
pub(crate) fn split(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut start, mut at, mut has_content) = (Vec::new(), 0, 0, false);
    for line in text.split_inclusive('\n') {
        let (is_start, is_end) = (is_marker(line, "---"), is_marker(line, "..."));
        if is_start && has_content {
            found.push(start..at);
            start = at;
        }
        at += line.len();
        let is_silent =
            line.trim().is_empty() || line.starts_with(['#', '%']) || line.starts_with('\u{feff}');
        has_content = !is_end && (is_start || has_content || !is_silent);
        if is_end {
            found.push(start..at);
            start = at;
        }
    }
    if start < at {
        found.push(start..at);
    }
    found
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Lists in lists are no use to anybody.
const MAX_NESTED: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<&str> {
        split(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn a_stream_is_split_where_its_documents_begin() {
        assert_eq!(
            parts("# c\n---\na: 1\n---\nb: |\n  ---\n"),
            ["# c\n---\na: 1\n", "---\nb: |\n  ---\n"]
        );
        assert_eq!(
            parts("a: 1\n...\n# c\n%YAML 1.2\n---\nb: 1"),
            ["a: 1\n...\n", "# c\n%YAML 1.2\n---\nb: 1"]
        );
        assert_eq!(parts("---a: 1\n--- # c\n"), ["---a: 1\n", "--- # c\n"]);
        assert!(parts("").is_empty());
    }

    #[test]
    fn lists_have_their_items_as_objects() {
        let text = "kind: List\nitems:\n- kind: Pod\n- kind: ServiceList\n  items: [{kind: Service}]\n- 5\n";
        let found = Document::read(text.to_owned()).unwrap().objects();
        let found: Vec<_> = found.iter().map(Path::pointer).collect();
        assert_eq!(found, ["/items/0", "/items/1/items/0"]);
    }
}
