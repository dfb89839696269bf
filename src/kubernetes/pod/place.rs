//! Changes at places which may be there, be empty, or not be there.

use serde_json::{Map, Value};

use crate::kubernetes::change::{Change, Path};

/// The value of a key of what is at `at`.
pub(super) fn key(holder: &Value, at: &Path, key: &str, value: impl Into<Value>) -> Change {
    match holder.get(key) {
        Some(_) => Change::replace(at.to(key), value),
        None => Change::add(at.to(key), value),
    }
}

/// The value of a key of a map, which itself may be missing.
pub(super) fn key_in(
    holder: &Value,
    at: &Path,
    map: &str,
    inner: &str,
    value: impl Into<Value>,
) -> Change {
    match holder.get(map) {
        Some(there) if !is_empty(there) => key(there, &at.to(map), inner, value),
        _ => {
            let only = Map::from_iter([(inner.to_owned(), value.into())]);
            key(holder, at, map, only)
        }
    }
}

/// Items behind the last of a list, which itself may be missing.
pub(super) fn items(holder: &Value, at: &Path, list: &str, values: Vec<Value>) -> Vec<Change> {
    match holder.get(list).and_then(Value::as_array) {
        Some(there) if !there.is_empty() => {
            let places = (there.len()..).map(|item| at.to(list).to(item));
            let added = places.zip(values);
            added.map(|(at, value)| Change::add(at, value)).collect()
        }
        _ => vec![key(holder, at, list, values)],
    }
}

/// An item in front of the first of a list, which itself may be missing.
pub(super) fn first_item(holder: &Value, at: &Path, list: &str, value: Value) -> Change {
    match holder.get(list) {
        Some(there) if !is_empty(there) => Change::add(at.to(list).to(0), value),
        _ => key(holder, at, list, vec![value]),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(keys) => keys.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_there_is_added_and_what_is_empty_is_replaced() {
        let holder =
            json!({ "null": null, "list": [], "map": {}, "full": [1], "keys": { "a": null } });
        let top = Path::default();
        let operations =
            |changes: &[Change]| -> Vec<Value> { changes.iter().map(Change::operation).collect() };
        let added = [
            items(&holder, &top, "no", vec![json!(1), json!(2)]),
            items(&holder, &top, "null", vec![json!(1)]),
            items(&holder, &top, "list", vec![json!(1)]),
            items(&holder, &top, "full", vec![json!(2), json!(3)]),
            vec![
                first_item(&holder, &top, "no", json!(0)),
                first_item(&holder, &top, "list", json!(0)),
                first_item(&holder, &top, "full", json!(0)),
                key_in(&holder, &top, "no", "a", 1),
                key_in(&holder, &top, "map", "a", 1),
                key_in(&holder, &top, "keys", "a", 1),
                key_in(&holder, &top, "keys", "b", 1),
            ],
        ];
        let expected = json!([
            { "op": "add", "path": "/no", "value": [1, 2] },
            { "op": "replace", "path": "/null", "value": [1] },
            { "op": "replace", "path": "/list", "value": [1] },
            { "op": "add", "path": "/full/1", "value": 2 },
            { "op": "add", "path": "/full/2", "value": 3 },
            { "op": "add", "path": "/no", "value": [0] },
            { "op": "replace", "path": "/list", "value": [0] },
            { "op": "add", "path": "/full/0", "value": 0 },
            { "op": "add", "path": "/no", "value": { "a": 1 } },
            { "op": "replace", "path": "/map", "value": { "a": 1 } },
            { "op": "replace", "path": "/keys/a", "value": 1 },
            { "op": "add", "path": "/keys/b", "value": 1 },
        ]);
        assert_eq!(json!(operations(&added.concat())), expected);
    }
}
