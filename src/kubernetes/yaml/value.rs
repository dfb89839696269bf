//! What a document says, without how: as the API server gets it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::node::{Body, MERGE, Node};
use super::scalar::resolve;
use super::tree::Trouble;

/// The value of a node, with what aliases stand for, and with merged keys.
///
/// # Errors
/// When aliases make more of it than any manifest is, or an alias stands for what it is in.
pub(crate) fn value(root: &Node) -> Result<Value, Trouble> {
    value_at(root, root)
}

/// The value of a node in a document.
///
/// # Errors
/// As those of `value`.
pub(crate) fn value_at<'a>(root: &'a Node, node: &'a Node) -> Result<Value, Trouble> {
    let (mut anchors, mut has_alias) = (BTreeMap::new(), false);
    node.walk(&mut |node| has_alias |= matches!(node.body, Body::Alias(_)));
    if has_alias {
        root.walk(&mut |node| {
            if node.anchor > 0 {
                anchors.insert(node.anchor, node);
            }
        });
    }
    let mut meaning = Meaning {
        anchors,
        left: MAX_NODES,
        depth: 0,
    };
    meaning.of(node)
}

struct Meaning<'a> {
    anchors: BTreeMap<usize, &'a Node>,
    left: usize,
    depth: usize,
}

impl<'a> Meaning<'a> {
    fn of(&mut self, node: &'a Node) -> Result<Value, Trouble> {
        let too_much = |text: &str| Trouble {
            at: node.span.start,
            text: text.to_owned(),
        };
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| too_much("aliases make too much of this document"))?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_much(
                "an alias stands for something it is in, or all is nested too deep",
            ));
        }
        let value = match &node.body {
            Body::Scalar {
                text,
                is_plain: true,
            } => resolve(text),
            Body::Scalar { text, .. } => Value::String(text.clone()),
            Body::List { items, .. } => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.of(item)).collect();
                Value::Array(items?)
            }
            Body::Map { .. } => Value::Object(self.map(node)?),
            Body::Alias(anchor) => match self.anchors.get(anchor).copied() {
                Some(meant) => self.of(meant)?,
                None => return Err(too_much("an alias stands for nothing")),
            },
        };
        self.depth -= 1;
        Ok(value)
    }

    fn map(&mut self, node: &'a Node) -> Result<Map<String, Value>, Trouble> {
        let (mut map, mut merged) = (Map::new(), Vec::new());
        let Body::Map { entries, .. } = &node.body else {
            return Ok(map);
        };
        for entry in entries {
            let value = self.of(&entry.value)?;
            match entry.key.text() {
                Some(MERGE) => merged.push(value),
                Some(key) => {
                    map.insert(key.to_owned(), value);
                }
                None => {
                    let (at, text) = (entry.key.span.start, "a key that is no text".to_owned());
                    return Err(Trouble { at, text });
                }
            }
        }
        // A list of mappings is merged in its order: what is there stays.
        for value in merged {
            for one in if let Value::Array(all) = value {
                all
            } else {
                vec![value]
            } {
                let Value::Object(one) = one else { continue };
                for (key, value) in one {
                    map.entry(key).or_insert(value);
                }
            }
        }
        Ok(map)
    }
}

/// More than the API server takes.
const MAX_NODES: usize = 500_000;
const MAX_DEPTH: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse;
    use super::*;

    fn read(text: &str) -> Result<Value, Trouble> {
        value(&parse(text)?.unwrap())
    }

    #[test]
    fn aliases_and_merged_keys_are_followed() {
        let text = "a: &a {b: 1, c: 2}\nd: *a\ne: {<<: *a, b: 3}\nf:\n  <<: [*a, {g: 4}]\n";
        let meant = json!({"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 2}, "e": {"b": 3, "c": 2},
            "f": {"b": 1, "c": 2, "g": 4}});
        assert_eq!(read(text), Ok(meant));
    }

    #[test]
    fn aliases_that_multiply_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(read(&text).unwrap_err().text.contains("too much"));
    }

    #[test]
    fn an_alias_to_what_it_is_in_is_refused() {
        assert!(read("a: &a [*a]\n").is_err());
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused() {
        assert_eq!(
            parse("a: 1\nb: 2\na: 3\n").unwrap_err().text,
            "the key a is there twice"
        );
    }
}
