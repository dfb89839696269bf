//! The name of the app in the records.

use serde_json::Value;

use super::Owner;
use crate::kubernetes::settings::Settings;

/// None where only the pod has one, later.
pub(super) fn name(template: &Value, owner: &Owner, settings: &Settings) -> Option<String> {
    let label = |wanted: &str| {
        let label = template["metadata"]["labels"][wanted].as_str()?;
        (!label.is_empty()).then(|| label.to_owned())
    };
    let metadata = |key: &str| template.get("metadata")?.get(key)?.as_str();
    // A controller's pod has the name of its ReplicaSet in front, and of that the Deployment's.
    let generated = || {
        let name = metadata("generateName")?.strip_suffix('-')?;
        Some(without_hash(template, name).to_owned())
    };
    let own = || metadata("name").map(str::to_owned);
    settings
        .service_name
        .clone()
        .or_else(|| label("app.kubernetes.io/name"))
        .or_else(|| label("app"))
        .or_else(generated)
        .or_else(|| owner.name.clone())
        .or_else(own)
        .filter(|name| !name.is_empty())
}

/// A Deployment's name out of that of its ReplicaSet.
pub(crate) fn without_hash<'a>(pod: &Value, name: &'a str) -> &'a str {
    let hash = pod["metadata"]["labels"]["pod-template-hash"].as_str();
    hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'))
        .filter(|name| !name.is_empty())
        .unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(metadata: &Value, owner: Option<&str>) -> Option<String> {
        let owner = Owner {
            name: owner.map(str::to_owned),
            is_job: false,
        };
        name(
            &json!({ "metadata": metadata }),
            &owner,
            &Settings::default(),
        )
    }

    #[test]
    fn a_label_says_it_before_the_owner_does() {
        let both = json!({ "labels": { "app": "b", "app.kubernetes.io/name": "a" } });
        assert_eq!(named(&both, Some("c")).as_deref(), Some("a"));
        let one = json!({ "labels": { "app": "b", "app.kubernetes.io/name": "" } });
        assert_eq!(named(&one, Some("c")).as_deref(), Some("b"));
        assert_eq!(
            named(&json!({ "labels": 3 }), Some("c")).as_deref(),
            Some("c")
        );
    }

    #[test]
    fn a_pod_of_a_controller_is_named_like_its_workload() {
        let of_deployment =
            json!({ "generateName": "shop-5d4f8-", "labels": { "pod-template-hash": "5d4f8" } });
        assert_eq!(named(&of_deployment, None).as_deref(), Some("shop"));
        let of_set = json!({ "generateName": "db-", "name": "db-0" });
        assert_eq!(named(&of_set, Some("db-0")).as_deref(), Some("db"));
        assert_eq!(
            named(&json!({ "name": "alone" }), None).as_deref(),
            Some("alone")
        );
        assert_eq!(named(&Value::Null, None), None);
    }
}
