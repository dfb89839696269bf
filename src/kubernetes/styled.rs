//! Values written for tests, in every way that YAML knows, as a tape of bytes decides.

use serde_json::{Map, Value, json};

/// Decisions, one after the other; what comes when they are used up is 0.
pub(super) struct Tape<'a>(pub(super) std::slice::Iter<'a, u8>);

impl Tape<'_> {
    pub(super) fn of(&mut self, choices: u8) -> u8 {
        self.0.next().copied().unwrap_or_default() % choices
    }

    pub(super) fn sometimes(&mut self) -> bool {
        self.of(5) == 1
    }
}

/// Writes values as YAML, in ways that the tape decides.
pub(super) struct Writer<'a> {
    pub(super) tape: Tape<'a>,
    pub(super) out: String,
    pub(super) anchors: Vec<(String, Value)>,
    pub(super) feed: &'static str,
}

impl Writer<'_> {
    pub(super) fn feed(&mut self) {
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

    pub(super) fn document(&mut self, value: &Value) {
        self.anchors.clear();
        if self.tape.of(10) == 1 {
            self.flow(value);
            self.out.push_str(self.feed);
        } else if let Value::Object(map) = value {
            self.entries(map, 0, false);
        }
    }
}
