//! Changes written into the text of a document.

use serde_json::Value;

use super::change::{Change, Edit, Path, Step};
use super::manifest::Document;
use super::record::{self, Done};
use super::yaml::{self, Body, MERGE, Node, Trouble};

/// The changes of one object, whose places are told from `at` on.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) at: Path,
    pub(crate) changes: Vec<Change>,
}

/// The text of a document with all changes in it, and in each object a record of what was done to it.
///
/// # Errors
/// What is written in a way that cannot be changed, and where.
pub(crate) fn write(document: &Document, wanted: &[Wanted]) -> Result<String, Trouble> {
    let mut text = document.text.clone();
    let mut root = yaml::parse(&text)?.ok_or_else(nothing)?;
    let mut written: Vec<Vec<Done>> = wanted.iter().map(|_| Vec::new()).collect();
    for (one, written) in wanted.iter().zip(&mut written) {
        let object = one.at.of(&document.value).unwrap_or(&Value::Null);
        let seat = record::seat(object, Value::Null);
        for change in one.changes.iter().chain([&seat]) {
            write_out(&mut text, &mut root, &at(one, change), written)?;
        }
    }
    let (mut splices, mut meant) = (Vec::new(), document.value.clone());
    for (one, written) in wanted.iter().zip(written) {
        let object = one.at.of(&document.value).unwrap_or(&Value::Null);
        let was = |path: &Path| was(&text, &root, &one.at.join(path));
        for change in record::seal(object, one.changes.clone(), written, was) {
            let change = at(one, &change);
            splices.push(yaml::change(&text, &root, &change)?);
            make(&mut meant, &change);
        }
    }
    let text = yaml::apply(&text, splices);
    let reads = Document::read(text)?;
    // The text has to say what was meant, whatever is written in it and how.
    if reads.value != meant {
        let at = differs(&document.value, &reads.value, &meant, &Path::default());
        return Err(Trouble {
            at: document.root.as_ref().map_or(0, |root| root.nearest(&at)),
            text: format!("{at} is written in a way that cannot be changed; write it in another"),
        });
    }
    Ok(reads.text)
}

/// The first place where two values differ, as far in as the object that was given goes.
fn differs(given: &Value, one: &Value, other: &Value, at: &Path) -> Path {
    let inner: Vec<Step> = match given {
        Value::Object(map) => map.keys().map(|key| Step::Key(key.clone())).collect(),
        Value::Array(items) => (0..items.len()).map(Step::Item).collect(),
        _ => Vec::new(),
    };
    for step in inner {
        let place = Path(vec![step.clone()]);
        let (one, other) = (place.of(one), place.of(other));
        if let (Some(given), Some(one), Some(other)) = (place.of(given), one, other)
            && one != other
        {
            return differs(given, one, other, &at.to_step(step));
        }
    }
    at.clone()
}

pub(super) fn nothing() -> Trouble {
    Trouble {
        at: 0,
        text: "there is no document".to_owned(),
    }
}

fn at(one: &Wanted, change: &Change) -> Change {
    Change {
        at: one.at.join(&change.at),
        ..change.clone()
    }
}

fn was(text: &str, root: &Node, path: &Path) -> String {
    let region =
        yaml::parent_of(root, path).and_then(|(last, _, parent)| yaml::region(parent, last));
    region
        .and_then(|region| text.get(region))
        .unwrap_or_default()
        .to_owned()
}

/// Makes a change in a value.
pub(crate) fn make(value: &mut Value, change: &Change) {
    let Some((last, parent)) = change.at.0.split_last() else {
        return;
    };
    let pointer = Path(parent.to_vec()).pointer();
    match (value.pointer_mut(&pointer), last, change.edit) {
        (Some(Value::Object(map)), Step::Key(key), _) => {
            map.insert(key.clone(), change.value.clone());
        }
        (Some(Value::Array(items)), Step::Item(item), Edit::Add) if *item <= items.len() => {
            items.insert(*item, change.value.clone());
        }
        (Some(Value::Array(items)), Step::Item(item), Edit::Replace) => {
            if let Some(there) = items.get_mut(*item) {
                *there = change.value.clone();
            }
        }
        _ => {}
    }
}

/// Writes out, one after the other, what a change would change elsewhere, too, and what it is to change and is not there.
fn write_out(
    text: &mut String,
    root: &mut Node,
    change: &Change,
    written: &mut Vec<Done>,
) -> Result<(), Trouble> {
    while let Some(place) = to_write_out(root, change) {
        let (is, edit) = match root.at(&place) {
            Some(node) => (yaml::value_at(root, node)?, Edit::Replace),
            None => {
                let all = yaml::value(root)?;
                (place.of(&all).cloned().unwrap_or_default(), Edit::Add)
            }
        };
        if written.len() >= MAX_WRITTEN {
            let text = "too many aliases would have to be written out".to_owned();
            return Err(Trouble { at: 0, text });
        }
        let was = (edit == Edit::Replace).then(|| was(text, root, &place));
        let made = Change {
            at: place,
            edit,
            value: is,
        };
        *text = yaml::apply(text, vec![yaml::change(text, root, &made)?]);
        *root = yaml::parse(text)?.ok_or_else(nothing)?;
        written.push(Done {
            at: made.at.pointer(),
            of: Vec::new(),
            was,
            is: made.value,
        });
    }
    Ok(())
}

fn to_write_out(root: &Node, change: &Change) -> Option<Path> {
    let (mut node, mut place) = (root, Path::default());
    for (number, step) in change.at.0.iter().enumerate() {
        if matches!(node.body, Body::Alias(_)) {
            return Some(place);
        }
        if let Some(alias) = alias_of(root, node.anchor) {
            return Some(alias);
        }
        let is_last = number + 1 == change.at.0.len();
        match node.step(step) {
            Some(next) => node = next,
            // It comes by a merged key, or the change is what brings it.
            None if !is_last || change.edit == Edit::Replace => {
                return node
                    .entry(MERGE)
                    .is_some()
                    .then(|| place.to_step(step.clone()));
            }
            None => return None,
        }
        place = place.to_step(step.clone());
    }
    // What is replaced takes its anchors with it.
    let mut anchors = Vec::new();
    if change.edit == Edit::Replace {
        node.walk(&mut |node| anchors.push(node.anchor));
    }
    anchors
        .into_iter()
        .find_map(|anchor| alias_of(root, anchor))
}

/// The first alias of an anchor.
fn alias_of(root: &Node, anchor: usize) -> Option<Path> {
    if anchor == 0 {
        return None;
    }
    search(root, &Path::default(), anchor)
}

fn search(node: &Node, place: &Path, anchor: usize) -> Option<Path> {
    match &node.body {
        Body::Alias(meant) => (*meant == anchor).then(|| place.clone()),
        Body::Scalar { .. } => None,
        Body::List { items, .. } => {
            let mut items = items.iter().enumerate();
            items.find_map(|(number, item)| search(item, &place.to(number), anchor))
        }
        Body::Map { entries, .. } => entries.iter().find_map(|entry| {
            let key = entry.key.text()?;
            search(&entry.value, &place.to(key), anchor)
        }),
    }
}

const MAX_WRITTEN: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::change::Note;
    use super::super::erasing::erase;
    use super::*;

    fn path(pointer: &str) -> Path {
        let step = |part: &str| match part.parse::<usize>() {
            Ok(item) => Step::Item(item),
            Err(_) => Step::from(part),
        };
        Path(pointer.split('/').skip(1).map(step).collect())
    }

    fn changed(text: &str, changes: Vec<Change>) -> Result<String, Trouble> {
        let document = Document::read(text.to_owned())?;
        write(
            &document,
            &[Wanted {
                at: Path::default(),
                changes,
            }],
        )
    }

    fn erased(text: &str) -> (String, Vec<Note>) {
        let document = Document::read(text.to_owned()).unwrap();
        let record = record::of(&document.value).unwrap().unwrap();
        erase(text, &[(Path::default(), record)]).unwrap()
    }

    /// The text with the changes, less the annotation, which is there and takes all of it out again.
    fn written(text: &str, changes: Vec<Change>) -> String {
        let new =
            changed(text, changes).unwrap_or_else(|trouble| panic!("{}: {text}", trouble.text));
        let (again, notes) = erased(&new);
        assert_eq!((again.as_str(), notes), (text, Vec::new()), "{new}");
        let is_record = |line: &&str| !line.contains(record::INJECTED);
        new.split_inclusive('\n').filter(is_record).collect()
    }

    #[test]
    fn comments_order_and_style_stay_and_all_can_be_taken_out() {
        let text = "# top\nmetadata:\n  annotations: {} # none\nspec: # all\n  # the app\n  containers:\n  - name: app\n    image: \"x\"\n    # its end\n  # volumes?\nb: 1\n";
        let new = written(
            text,
            vec![
                Change::add(
                    path("/spec/initContainers"),
                    json!([{"name": "portcullis", "args": ["run"]}]),
                ),
                Change::add(
                    path("/spec/containers/0/lifecycle"),
                    json!({"preStop": {"sleep": {"seconds": 26}}}),
                ),
                Change::replace(path("/spec/containers/0/image"), "z"),
                Change::add(
                    path("/spec/volumes"),
                    json!([{"name": "t", "secret": {"secretName": "s"}}]),
                ),
                Change::add(path("/spec/containers/1"), json!({"name": "b"})),
            ],
        );
        let wanted = "# top\nmetadata:\n  annotations:\nspec: # all\n  initContainers:\n    - name: portcullis\n      args: [run]\n  # the app\n  containers:\n  - name: app\n    image: z\n    # its end\n    lifecycle:\n      preStop:\n        sleep:\n          seconds: 26\n  - name: b\n  # volumes?\n  volumes:\n    - name: t\n      secret:\n        secretName: s\nb: 1\n";
        assert_eq!(new, wanted);
    }

    #[test]
    fn flow_style_and_json_stay_what_they_are() {
        let add = || {
            vec![
                Change::add(path("/b/0"), json!({"name": "m"})),
                Change::add(path("/c/d"), 1),
                Change::add(path("/c/e"), "x y"),
                Change::replace(path("/a"), 2),
            ]
        };
        let flow = "{ metadata: { annotations: { x: y } }, a: 1, b: [z], c: {f: g,} }\n";
        let new = changed(flow, add()).unwrap();
        assert!(
            new.ends_with(", a: 2, b: [{ name: m }, z], c: {f: g, d: 1, e: \"x y\",} }\n"),
            "{new}"
        );
        assert_eq!(erased(&changed(flow, add()).unwrap()).0, flow);
        let json = "{\n    \"metadata\": {\n        \"annotations\": {\n            \"x\": \"y\"\n        }\n    },\n    \"a\": 1,\n    \"b\": [\n        \"z\"\n    ],\n    \"c\": {\n        \"f\": \"g\"\n    }\n}\n";
        let new = written(json, add());
        assert!(new.contains("\"b\": [\n        {\n            \"name\": \"m\"\n        },\n        \"z\"\n    ],\n    \"c\": {\n        \"f\": \"g\",\n        \"d\": 1,\n        \"e\": \"x y\"\n    }"), "{new}");
        serde_json::from_str::<Value>(&changed(json, add()).unwrap()).unwrap();
    }

    #[test]
    fn what_aliases_share_is_written_out_where_only_one_of_them_changes() {
        let text = "a: &p {path: /x, port: &n 1}\nb: *p\nc: {<<: *p, z: 1}\nd: *n\nmetadata: {annotations: {q: r}}\n";
        let new = written(
            text,
            vec![
                Change::replace(path("/b/port"), 2),
                Change::replace(path("/c/port"), 3),
            ],
        );
        assert!(new.starts_with("a: &p {path: /x, port: &n 1}\nb:\n  path: /x\n  port: 2\nc: {<<: *p, z: 1, port: 3}\nd: *n\n"), "{new}");
        let new = written(text, vec![Change::replace(path("/a/port"), 2)]);
        assert!(new.starts_with("a: &p {path: /x, port: 2}\nb:\n  path: /x\n  port: 1\nc: {<<: { path: /x, port: 1 }, z: 1}\nd: 1\n"), "{new}");
    }

    #[test]
    fn texts_without_a_last_line_feed_and_of_windows_keep_their_ends() {
        for text in [
            "a:\n  b: 1",
            "a:\r\n  b: 1\r\n",
            "a:\r\n  b: 1",
            "a:\n  b: |+\n    x\n\n",
            "a:\n  b: |\n    x\n\n# c",
            "a: {b: 1}",
            "a:\n  b: >-\n    x\n\n\n...\n",
            "---\na: {b}\n",
            "a:\n    # c\n    b:\n",
        ] {
            let new = written(
                text,
                vec![
                    Change::add(path("/a/c"), json!([{"name": "x"}])),
                    Change::add(path("/d"), json!({"e": [1, {"f": "g"}]})),
                ],
            );
            assert_eq!(new.contains('\r'), text.contains('\r'));
            assert!(!new.replace("\r\n", "").contains('\r'));
        }
    }

    #[test]
    fn what_is_in_a_named_item_is_found_behind_new_ones() {
        let text = "a:\n- name: x\n  b: 1\n";
        let new = changed(
            text,
            vec![
                Change::replace(path("/a/0/b"), 2),
                Change::add(path("/a/0/c"), 3),
            ],
        )
        .unwrap();
        let touched = new.replace("- name: x", "- name: y\n  b: 2\n  c: 3\n- name: x");
        assert_eq!(
            erased(&touched).0,
            "a:\n- name: y\n  b: 2\n  c: 3\n- name: x\n  b: 1\n"
        );
    }

    #[test]
    fn what_others_added_or_changed_since_stays() {
        let text = "a: []\nb: 1\n";
        let new = changed(
            text,
            vec![
                Change::replace(path("/a"), json!([{"name": "x"}])),
                Change::replace(path("/b"), 2),
            ],
        )
        .unwrap();
        let touched = new
            .replace("b: 2", "b: 3")
            .replace("- name: x", "- name: x\n  - name: y")
            .replace(
                "  annotations:",
                "  labels: {l: m}\n  annotations:\n    k: v",
            );
        let (left, notes) = erased(&touched);
        assert_eq!(
            left,
            "a:\n  - name: y\nb: 3\nmetadata:\n  labels: {l: m}\n  annotations:\n    k: v\n"
        );
        assert_eq!(notes.len(), 1);
        assert_eq!(notes[0].text, "this was changed since, and stays as it is");
    }
}
