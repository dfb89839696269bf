//! What holds for every manifest, tried on generated ones: objects of every kind, written in every way that YAML knows.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Map, Value, json};

use super::inject::{inject, uninject};
use super::manifest::Document;
use super::settings::Given;
use super::stream::Remark;

/// Decisions, one after the other; what comes when they are used up is 0.
struct Tape<'a>(std::slice::Iter<'a, u8>);

impl Tape<'_> {
    fn of(&mut self, choices: u8) -> u8 {
        self.0.next().copied().unwrap_or_default() % choices
    }

    fn sometimes(&mut self) -> bool {
        self.of(5) == 1
    }
}

/// Writes values as YAML, in ways that the tape decides.
struct Writer<'a> {
    tape: Tape<'a>,
    out: String,
    anchors: Vec<(String, Value)>,
    feed: &'static str,
}

impl Writer<'_> {
    fn feed(&mut self) {
        if self.tape.sometimes() {
            self.out.push_str("  # said");
        }
        self.out.push_str(self.feed);
    }

    fn between(&mut self, column: usize) {
        match self.tape.of(12) {
            1 => self.out.push_str(self.feed),
            2 => self.out.push_str(&format!(
                "{}# - a: comment{}",
                " ".repeat(column),
                self.feed
            )),
            3 => self
                .out
                .push_str(&format!("{}#{}", " ".repeat(column + 2), self.feed)),
            4 => self.out.push_str(&format!("# left{}", self.feed)),
            _ => {}
        }
    }

    fn scalar(&mut self, value: &Value, in_flow: bool) {
        let text = match value {
            Value::String(text) => match self.tape.of(4) {
                1 => format!("'{}'", text.replace('\'', "''")),
                2 => value.to_string(),
                _ => super::yaml::flow(value, false),
            },
            Value::Null if !in_flow => "~".to_owned(),
            other => super::yaml::flow(other, false),
        };
        self.out.push_str(&text);
    }

    fn flow(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                self.out
                    .push_str(if self.tape.sometimes() { "{" } else { "{ " });
                for (number, (key, value)) in map.iter().enumerate() {
                    if number > 0 {
                        self.out.push_str(", ");
                    }
                    self.scalar(&json!(key), true);
                    self.out.push_str(": ");
                    self.flow(value);
                }
                self.out
                    .push_str(if !map.is_empty() && self.tape.sometimes() {
                        ", }"
                    } else {
                        " }"
                    });
            }
            Value::Array(items) => {
                self.out.push('[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        self.out.push_str(", ");
                    }
                    self.flow(item);
                }
                self.out.push(']');
            }
            other => self.scalar(other, true),
        }
    }

    /// Behind a colon or a dash.
    fn below(&mut self, value: &Value, column: usize, is_item: bool) {
        let is_empty = value.as_object().is_some_and(Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty);
        if let Some((name, _)) = self.anchors.iter().find(|(_, meant)| meant == value)
            && self.tape.sometimes()
        {
            self.out.push_str(&format!(" *{name}"));
            return self.feed();
        }
        if !is_empty && self.tape.of(8) == 1 {
            let name = format!("a{}", self.anchors.len());
            self.out.push_str(&format!(" &{name}"));
            self.anchors.push((name, value.clone()));
        }
        let anchored = self
            .out
            .lines()
            .last()
            .is_some_and(|line| line.contains('&'));
        match value {
            Value::Object(map) if !is_empty && self.tape.of(6) != 1 => {
                if is_item && !anchored {
                    self.out.push(' ');
                } else {
                    self.feed();
                }
                self.entries(map, column, is_item && !anchored);
            }
            Value::Array(items) if !is_empty && self.tape.of(6) != 1 => {
                self.feed();
                // At the column of the key, as kubectl writes it, or further in.
                let inner = if is_item || self.tape.of(2) == 1 {
                    column
                } else {
                    column - 2
                };
                self.items(items, inner);
            }
            Value::Null if !is_item && self.tape.of(2) == 1 => self.feed(),
            other => {
                self.out.push(' ');
                if other.is_object() || other.is_array() {
                    self.flow(other);
                } else {
                    self.scalar(other, false);
                }
                self.feed();
            }
        }
    }

    fn entries(&mut self, map: &Map<String, Value>, column: usize, mut is_begun: bool) {
        for (key, value) in map {
            if !is_begun {
                self.between(column);
                self.out.push_str(&" ".repeat(column));
            }
            is_begun = false;
            self.scalar(&json!(key), false);
            self.out.push(':');
            if ["a", "value", "image"].contains(&&**key)
                && let (Some(text), 1) = (value.as_str(), self.tape.of(3))
            {
                let kept = ["|", "|-", "|+", ">-"][usize::from(self.tape.of(4))];
                // With strip the value is the text; with the others a line feed more, which is no matter to injection.
                self.out.push_str(&format!(
                    " {kept}{feed}{}{text}{feed}",
                    " ".repeat(column + 2),
                    feed = self.feed
                ));
                if self.tape.sometimes() {
                    self.out.push_str(self.feed);
                }
            } else {
                self.below(value, column + 2, false);
            }
        }
    }

    fn items(&mut self, items: &[Value], column: usize) {
        for item in items {
            self.between(column);
            self.out.push_str(&format!("{}-", " ".repeat(column)));
            self.below(item, column + 2, true);
        }
    }

    fn document(&mut self, value: &Value) {
        self.anchors.clear();
        if self.tape.of(10) == 1 {
            self.flow(value);
            self.out.push_str(self.feed);
        } else if let Value::Object(map) = value {
            self.entries(map, 0, false);
        }
    }
}

fn probe(tape: &mut Tape<'_>) -> Value {
    match tape.of(6) {
        0 => json!({"httpGet": {"path": "/healthz", "port": 8080}}),
        1 => json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5}),
        2 => json!({"tcpSocket": {"port": 8080}}),
        3 => json!({"exec": {"command": ["cat", "/tmp/x"]}}),
        4 => json!({"httpGet": {"port": 8080, "path": "/other"}}),
        _ => json!({"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTPS"}}),
    }
}

fn template(tape: &mut Tape<'_>) -> Value {
    let mut app = json!({"name": "app", "image": "registry.example/app:1.0",
        "ports": [{"name": "http", "containerPort": 8080}], "env": [{"name": "A", "value": "yes"}]});
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if tape.of(2) == 1 {
            app[name] = probe(tape);
        }
    }
    match tape.of(5) {
        1 => app["lifecycle"] = json!({"preStop": {"exec": {"command": ["sleep", "5"]}}}),
        2 => app["lifecycle"] = json!({"postStart": {"exec": {"command": ["true"]}}}),
        3 => app["lifecycle"] = json!({}),
        _ => {}
    }
    let mut spec = json!({"containers": [app]});
    if tape.of(3) == 1 {
        spec["containers"]
            .as_array_mut()
            .unwrap()
            .insert(tape.of(2).into(), json!({"name": "log", "image": "log:1"}));
    }
    match tape.of(4) {
        1 => spec["initContainers"] = json!([{"name": "first", "image": "x:1"}]),
        2 => spec["initContainers"] = json!([]),
        _ => {}
    }
    match tape.of(4) {
        1 => spec["volumes"] = json!([{"name": "data", "emptyDir": {}}]),
        2 => spec["volumes"] = json!([]),
        3 => spec["volumes"] = Value::Null,
        _ => {}
    }
    if tape.of(3) == 1 {
        spec["terminationGracePeriodSeconds"] = json!(60);
    }
    let mut template = json!({"spec": spec});
    match tape.of(5) {
        1 => template["metadata"] = json!({"labels": {"app": "web"}}),
        2 => template["metadata"] = json!({"labels": {"app": "web"}, "annotations": {"a": "b"}}),
        3 => template["metadata"] = json!({"annotations": Value::Null, "labels": {"app": "web"}}),
        4 => template["metadata"] = json!({"annotations": {}, "labels": {"app": "web"}}),
        _ => {}
    }
    template
}

fn object(tape: &mut Tape<'_>) -> Value {
    let metadata = json!({"name": "web", "labels": {"app": "web"}});
    match tape.of(6) {
        0 => json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template(tape), "replicas": 2}}),
        1 => json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata,
            "spec": {"template": template(tape), "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}}),
        2 => json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata,
            "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template(tape)}}}}),
        3 => {
            let mut pod = template(tape);
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            pod["metadata"]["name"] = json!("web");
            pod
        }
        4 => json!({"apiVersion": "v1", "kind": "List", "items": [object(tape), object(tape)]}),
        _ => {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "x", "port": 81}]}})
        }
    }
}

/// A stream of up to three documents.
fn stream(choices: &[u8]) -> String {
    let (shape, style) = choices.split_at(choices.len() / 3);
    let mut shape = Tape(shape.iter());
    let tape = Tape(style.iter());
    let mut writer = Writer {
        tape,
        out: String::new(),
        anchors: Vec::new(),
        feed: "\n",
    };
    if writer.tape.sometimes() {
        writer.feed = "\r\n";
    }
    for number in 0..=shape.of(3) {
        if number > 0 || writer.tape.of(2) == 1 {
            writer.out.push_str("---");
            writer.feed();
        }
        writer.document(&object(&mut shape));
    }
    if writer.tape.sometimes() {
        let kept = writer.out.trim_end().len();
        writer.out.truncate(kept);
    }
    writer.out
}

fn given() -> Given {
    let mut given = Given::default();
    given.set("tls-secret", "app-tls").unwrap();
    given.set("container", "app").unwrap();
    given
}

fn texts(remarks: &[Remark]) -> Vec<&str> {
    remarks.iter().map(|remark| &*remark.text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn twice_is_once_and_what_was_put_in_is_taken_out_byte_for_byte(choices in prop::collection::vec(any::<u8>(), 200..900)) {
        let text = stream(&choices);
        let once = inject(&text, &given()).map_err(|wrong| TestCaseError::fail(format!("{wrong:?}\n{text}")))?;
        let twice = inject(&once.text, &given()).map_err(|wrong| TestCaseError::fail(format!("{wrong:?}\n{}", once.text)))?;
        prop_assert_eq!(&twice.text, &once.text, "given:\n{}", text);
        let out = uninject(&once.text).map_err(|wrong| TestCaseError::fail(format!("{wrong:?}\n{}", once.text)))?;
        prop_assert_eq!(out.text, text);
        let nothing = ["nothing here was injected"];
        prop_assert!(out.remarks.is_empty() || texts(&out.remarks) == nothing, "{:?}", out.remarks);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-{}\\[\\]:,&*a?|>'\"!%# \n\t\r<~]{0,60}") {
        let _ = inject(&text, &given());
        let _ = uninject(&text);
    }

    #[test]
    fn no_record_makes_it_panic(
        at in "(/|a|b|0|\\[x\\]|~1){0,8}",
        was in prop::option::of("[ \na-c{}:\\[]{0,9}"),
        text in "(a|b): ([ab0]|\\[(a|\\{name: x\\})\\]|\\{b: a\\})",
    ) {
        let done = json!([{"at": at, "was": was}]);
        let record = json!({"added": done, "replaced": done, "written": done}).to_string();
        let annotations = json!({"annotations": {super::record::INJECTED: record}});
        let _ = uninject(&format!("kind: Service\nmetadata: {annotations}\n{text}\n"));
    }
}

#[test]
fn what_is_generated_is_yaml_and_takes_many_shapes() {
    let mut choices = proptest::test_runner::TestRunner::deterministic();
    let strategy = prop::collection::vec(any::<u8>(), 200..900);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let text = stream(&strategy.new_tree(&mut choices).unwrap().current());
        for part in super::manifest::split(&text) {
            let document = Document::read(text[part].to_owned());
            let document = document.unwrap_or_else(|trouble| panic!("{}:\n{text}", trouble.text));
            seen.insert(document.value["kind"].to_string());
        }
        seen.extend(
            ["*a", "&a", "\r\n", "{ ", "|+"]
                .iter()
                .filter(|word| text.contains(**word))
                .map(ToString::to_string),
        );
    }
    assert_eq!(seen.len(), 11, "{seen:?}");
}
