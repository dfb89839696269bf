//! What a plain scalar means to Kubernetes, whose YAML is 1.1 with a few words of 1.2.

use serde_json::{Number, Value};

/// The value of a plain scalar.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            Value::Bool(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            Value::Bool(false)
        }
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let plain = digits.replace('_', "");
    if let Some(whole) = whole(&plain) {
        return Number::from_i128(sign * i128::from(whole));
    }
    let is_decimal = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    let float: f64 = plain
        .bytes()
        .all(is_decimal)
        .then(|| plain.parse().ok())??;
    Number::from_f64(float * if sign < 0 { -1.0 } else { 1.0 })
}

fn whole(digits: &str) -> Option<u64> {
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x', ..] => (16, digits.get(2..)?),
        [b'0', b'o', ..] => (8, digits.get(2..)?),
        [b'0', b'b', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] if digits.bytes().all(|byte| (b'0'..b'8').contains(&byte)) => (8, digits),
        _ => (10, digits),
    };
    let is_digit = |digit: char| digit.is_digit(radix);
    digits
        .chars()
        .all(is_digit)
        .then(|| u64::from_str_radix(digits, radix).ok())?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plain_scalar_means_what_it_means_to_kubernetes() {
        for (text, meant) in [
            ("8080", json!(8080)),
            ("0440", json!(288)),
            ("0o440", json!(288)),
            ("-5", json!(-5)),
            ("1_000", json!(1000)),
            ("1.5", json!(1.5)),
            ("089", json!(89)),
            ("yes", json!(true)),
            ("off", json!(false)),
            ("", json!(null)),
            ("1.2.3", json!("1.2.3")),
            ("10m", json!("10m")),
            ("5s", json!("5s")),
            (".", json!(".")),
            ("-", json!("-")),
            ("1e", json!("1e")),
        ] {
            assert_eq!(resolve(text), meant, "{text:?}");
        }
    }
}
