//! Autoscalers: the sidecar is a part of the pod whose use they measure.

use serde_json::Value;

use super::super::change::Note;
use super::super::service::{Protected, namespace_of};
use super::{items, note, spec};

pub(super) fn notes(scaler: &Value, protected: &[Protected]) -> Vec<Note> {
    let target = &scaler["spec"]["scaleTargetRef"];
    let text = |key: &str| target[key].as_str().unwrap_or_default();
    let who = format!("{} {}", text("kind"), text("name"));
    let is_scaled = |pods: &&Protected| pods.who == who && pods.namespace == namespace_of(scaler);
    if !protected.iter().any(|pods| is_scaled(&pods)) {
        return Vec::new();
    }
    let metrics = items(&scaler["spec"]["metrics"], spec().to("metrics"));
    let whole = metrics.filter(|(_, metric)| {
        metric["type"] == "Resource"
            && !metric["resource"]["target"]["averageUtilization"].is_null()
    });
    whole
        .map(|(at, _)| {
            let text = format!(
                "the utilization is that of all containers of {who} together, the sidecar's included: to scale by the \
                 app alone, use `type: ContainerResource` with the app's container"
            );
            note(at, text)
        })
        .collect()
}
