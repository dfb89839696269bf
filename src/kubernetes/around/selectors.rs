//! Label selectors, as policies and monitors have them.

use serde_json::Value;

use super::super::service::Labels;

/// Whether a selector selects what has these labels. An empty one selects all; one that cannot be understood, nothing.
pub(super) fn matches(selector: &Value, labels: &Labels) -> bool {
    let all = |value: &Value| value.is_null() || value.is_object();
    let (exact, expressions) = (&selector["matchLabels"], &selector["matchExpressions"]);
    let mut pairs = exact.as_object().into_iter().flatten();
    let mut expressions = expressions.as_array().into_iter().flatten();
    all(selector)
        && all(exact)
        && pairs.all(|(key, value)| labels.get(key).is_some_and(|label| value == label))
        && expressions.all(|expression| holds(expression, labels))
}

fn holds(expression: &Value, labels: &Labels) -> bool {
    let Some(key) = expression["key"].as_str() else {
        return false;
    };
    let label = labels.get(key);
    let mut values = expression["values"].as_array().into_iter().flatten();
    let is_listed = label.is_some_and(|label| values.any(|value| value == label));
    match expression["operator"].as_str() {
        Some("In") => is_listed,
        Some("NotIn") => !is_listed,
        Some("Exists") => label.is_some(),
        Some("DoesNotExist") => label.is_none(),
        _ => false,
    }
}
