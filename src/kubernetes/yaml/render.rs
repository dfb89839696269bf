//! Values as YAML: in blocks, as people write it, or in flow style, which is JSON where the text around it is.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::scalar::resolve;

/// A value below a key or a dash whose own text begins in `column`, from behind the colon or the dash on: what stands on the
/// same line begins with a space, what does not with a line feed.
pub(super) fn block(value: &Value, column: usize) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push('\n');
            entries(map, column + STEP, &mut text);
        }
        Value::Array(list) if list.iter().any(|item| item.is_object() || item.is_array()) => {
            text.push('\n');
            items(list, column + STEP, &mut text);
        }
        other => {
            text.push(' ');
            text.push_str(&flow(other, false));
        }
    }
    text
}

/// Entries of a mapping in lines of their own, without the last line feed.
pub(super) fn entries(map: &Map<String, Value>, column: usize, text: &mut String) {
    for (number, (key, value)) in in_order(map).into_iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        text.push_str(&" ".repeat(column));
        text.push_str(&scalar(key));
        text.push(':');
        text.push_str(&block(value, column));
    }
}

/// Items of a list in lines of their own, without the last line feed.
pub(super) fn items(list: &[Value], column: usize, text: &mut String) {
    for (number, item) in list.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        text.push_str(&" ".repeat(column));
        text.push('-');
        match item {
            Value::Object(map) if !map.is_empty() => {
                let mut lines = String::new();
                entries(map, column + STEP, &mut lines);
                text.push(' ');
                text.push_str(lines.trim_start());
            }
            other => text.push_str(&block(other, column)),
        }
    }
}

/// A value in one line; as JSON, where all text is quoted.
pub(crate) fn flow(value: &Value, as_json: bool) -> String {
    match value {
        Value::Array(list) => {
            let items: Vec<_> = list.iter().map(|item| flow(item, as_json)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| {
                format!("{}: {}", in_flow(key, as_json), flow(value, as_json))
            };
            let entries: Vec<_> = in_order(map).into_iter().map(entry).collect();
            let space = if as_json { "" } else { " " };
            format!("{{{space}{}{space}}}", entries.join(", "))
        }
        Value::String(text) => in_flow(text, as_json),
        other => other.to_string(),
    }
}

pub(super) fn in_flow(text: &str, as_json: bool) -> String {
    if as_json { quoted(text) } else { scalar(text) }
}

/// A text so that it is read as that text: bare where it can be.
pub(super) fn scalar(text: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=@%~".contains(&byte);
    let begins = |byte: u8| byte.is_ascii_alphanumeric() || b"/._".contains(&byte);
    let can_be_bare = text.bytes().next().is_some_and(begins)
        && text.bytes().enumerate().all(|(at, byte)| {
            is_bare(byte)
                || (byte == b':' && text.as_bytes().get(at + 1).copied().is_some_and(is_bare))
        })
        && matches!(resolve(text), Value::String(_));
    if can_be_bare {
        return text.to_owned();
    }
    let is_printable = text.chars().all(|letter| matches!(letter, ' '..='~'));
    if text.contains('"') && is_printable {
        return format!("'{}'", text.replace('\'', "''"));
    }
    quoted(text)
}

/// As JSON, which YAML's double quotes understand. What YAML does not take as it is, is escaped.
fn quoted(text: &str) -> String {
    let json = Value::String(text.to_owned()).to_string();
    let escaped = |letter: char| {
        if matches!(
            letter,
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        ) {
            format!("\\u{:04x}", u32::from(letter))
        } else {
            letter.to_string()
        }
    };
    json.chars().map(escaped).collect()
}

/// In the order that people write them in; what is not known in that of the alphabet.
pub(super) fn in_order(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let rank = |key: &str| {
        ORDER
            .iter()
            .position(|known| *known == key)
            .unwrap_or(ORDER.len())
    };
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|(one, _), (other, _)| match rank(one).cmp(&rank(other)) {
        Ordering::Equal => one.cmp(other),
        order => order,
    });
    entries
}

const STEP: usize = 2;
const ORDER: [&str; 38] = [
    "name",
    "image",
    "imagePullPolicy",
    "restartPolicy",
    "command",
    "args",
    "env",
    "value",
    "containerPort",
    "ports",
    "startupProbe",
    "livenessProbe",
    "readinessProbe",
    "httpGet",
    "path",
    "port",
    "periodSeconds",
    "timeoutSeconds",
    "failureThreshold",
    "terminationGracePeriodSeconds",
    "lifecycle",
    "requests",
    "limits",
    "resources",
    "securityContext",
    "runAsNonRoot",
    "runAsUser",
    "runAsGroup",
    "readOnlyRootFilesystem",
    "allowPrivilegeEscalation",
    "capabilities",
    "seccompProfile",
    "secret",
    "secretName",
    "defaultMode",
    "volumeMounts",
    "mountPath",
    "readOnly",
];
