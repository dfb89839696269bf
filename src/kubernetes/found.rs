//! What is found in a manifest, as others are told of it.

use serde_json::Value;

use super::pod::{self, App};
use super::service::{Bare, Labels, Protected};
use super::stream::title;

pub(super) fn is_service(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Service")
}

pub(super) fn namespace(object: &Value) -> Option<String> {
    object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .map(str::to_owned)
}

pub(super) fn labels(pod: &Value) -> Labels {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    pod::labels(pod).map(own).collect()
}

pub(super) fn protected(object: &Value, pod: &Value, app: App) -> Protected {
    let App {
        port,
        names,
        https,
        others,
        ..
    } = app;
    let (who, namespace, labels) = (title(object), namespace(object), labels(pod));
    Protected {
        who,
        namespace,
        labels,
        port,
        names,
        https,
        others,
    }
}

pub(super) fn bare(object: &Value, pod: &Value) -> Bare {
    Bare {
        who: title(object),
        namespace: namespace(object),
        labels: labels(pod),
    }
}

pub(super) fn done(app: &App) -> String {
    let App {
        container,
        port,
        https,
        ..
    } = app;
    format!("a sidecar takes TLS at port {https}, in front of port {port} of container {container}")
}

/// Whether a pod has what injection puts there, and not the annotation that says so.
pub(super) fn has_lost_its_record(pod: &Value) -> bool {
    let is_there = |list, name| {
        let list = pod.pointer(list).and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|item| item["name"] == name))
    };
    pod.pointer("/metadata/annotations/portcullis.dev~1inject")
        .is_none_or(|said| said != "disabled")
        && is_there("/spec/volumes", "portcullis-tls")
        && (is_there("/spec/initContainers", "portcullis")
            || is_there("/spec/containers", "portcullis"))
}
