//! What is found in a manifest, as others are told of it.

use serde_json::Value;

use super::change::{Mistake, Path};
use super::pod::App;
use super::service::{self, Bare, Labels, Protected, namespace_of};
use super::settings::{PREFIX, annotation};
use super::stream::title;

pub(super) fn is_service(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Service")
}

fn labels_of(pod: &Value) -> Labels {
    service::labels(&pod["metadata"]["labels"])
}

pub(super) fn protected(object: &Value, pod: &Value, app: App) -> Protected {
    let App {
        port,
        names,
        https,
        others,
        ..
    } = app;
    let (who, namespace, labels) = (title(object), namespace_of(object), labels_of(pod));
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
        namespace: namespace_of(object),
        labels: labels_of(pod),
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

/// Annotations of ours that are about pods, and stand on what makes them.
pub(super) fn misplaced(object: &Value, template: &Path) -> Vec<Mistake> {
    let annotations = object
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    let keys = annotations.into_iter().flatten().map(|(key, _)| key);
    let ours = keys.filter_map(|key| key.strip_prefix(PREFIX));
    ours.map(|name| Mistake {
        at: annotation(name),
        text: format!(
            "this is about pods, and belongs to their template: {}",
            template.join(&annotation(name))
        ),
    })
    .collect()
}
