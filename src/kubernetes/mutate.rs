//! What injection does to one object that is seen by itself, as the webhook sees it.

use serde_json::Value;

use super::change::{Change, Mistake, Note, Path, Step};
use super::manifest::{self, is_hook};
use super::pod::{self, Hints, Owner, Patch};
use super::record;
use super::service;
use super::settings::Given;
use super::yaml::flow;

/// What is to be done to an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mutation {
    /// In this order; none where it is left as it is.
    pub(crate) changes: Vec<Change>,
    /// What to know about it.
    pub(crate) notes: Vec<Note>,
}

/// What injection does to a Pod, or to a Service that says which port is its application's. All other objects make pods,
/// which are asked about when they are made.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn mutate(object: &Value, given: &Given) -> Result<Mutation, Vec<Mistake>> {
    let mutation = match (object["apiVersion"].as_str(), object["kind"].as_str()) {
        (Some("v1"), Some("Pod")) => of_pod(object, given)?,
        (Some("v1"), Some("Service")) => of_service(object)?,
        _ => Mutation::default(),
    };
    Ok(sealed(object, mutation))
}

fn sealed(object: &Value, mutation: Mutation) -> Mutation {
    let Mutation { changes, notes } = mutation;
    if changes.is_empty() {
        return Mutation { changes, notes };
    }
    // As the text of a manifest has it, from behind the colon on, or an item of a list; that of one in JSON.
    let was = |path: &Path| {
        let text = path
            .of(object)
            .map_or_else(String::new, |was| flow(was, true));
        match path.0.last() {
            Some(Step::Item(_)) => text,
            _ => format!(" {text}"),
        }
    };
    let changes = record::seal(object, changes, Vec::new(), was);
    Mutation { changes, notes }
}

fn of_pod(pod: &Value, given: &Given) -> Result<Mutation, Vec<Mistake>> {
    if is_hook(pod) {
        return Ok(Mutation::default());
    }
    Ok(
        match pod::patch(pod, &owner(pod), given, &Hints::default())? {
            Patch::Injected(injected) => Mutation {
                changes: injected.changes,
                notes: injected.notes,
            },
            Patch::Left(why) => Mutation {
                changes: Vec::new(),
                notes: vec![why],
            },
        },
    )
}

/// Its ports decide, and not a record of an earlier time: whoever applies the Service as it was takes the ports back, and
/// leaves the annotation.
fn of_service(service: &Value) -> Result<Mutation, Vec<Mistake>> {
    let mut without = service.clone();
    let annotations = without.pointer_mut("/metadata/annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.remove(record::INJECTED);
    }
    let moved = service::patch(&without, &[], &[])?;
    let (changes, notes) = (moved.changes, moved.notes);
    Ok(Mutation { changes, notes })
}

/// What the pod is of, by the name that is the same for all its pods and outlives a rollout, where there is one.
fn owner(made: &Value) -> Owner {
    let controller = controller(made);
    let name = |from: &Value| from["name"].as_str().map(str::to_owned);
    let name = match controller {
        Some(controller) => name(controller).map(|name| pod::without_hash(made, &name).to_owned()),
        None => manifest::owner(made).name,
    };
    Owner {
        name,
        is_job: controller.is_some_and(|controller| controller["kind"] == "Job"),
    }
}

/// What makes the pod, and its like.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    let mut owners = object["metadata"]["ownerReferences"].as_array()?.iter();
    owners.find(|owner| owner["controller"] == true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_named_by_what_all_its_like_are_of() {
        let of =
            |kind: &str, name: &str| json!([{ "kind": kind, "name": name, "controller": true }]);
        for (metadata, name) in [
            (json!({ "name": "web" }), Some("web")),
            (json!({ "generateName": "web-" }), Some("web")),
            (json!({}), None),
            (
                json!({ "name": "db-0", "ownerReferences": of("StatefulSet", "db") }),
                Some("db"),
            ),
            (
                json!({
                    "generateName": "web-7d4b9c-",
                    "labels": { "pod-template-hash": "7d4b9c" },
                    "ownerReferences": of("ReplicaSet", "web-7d4b9c"),
                }),
                Some("web"),
            ),
            (
                json!({ "generateName": "web-x-", "ownerReferences": of("ReplicaSet", "web-x") }),
                Some("web-x"),
            ),
            (
                json!({ "name": "web", "ownerReferences": [{ "kind": "Node", "name": "n" }] }),
                Some("web"),
            ),
        ] {
            let owner = owner(&json!({ "metadata": metadata }));
            assert_eq!(
                (owner.name.as_deref(), owner.is_job),
                (name, false),
                "{metadata}"
            );
        }
        let pod = json!({ "metadata": { "ownerReferences": of("Job", "nightly") } });
        assert!(owner(&pod).is_job);
    }

    fn mutated(pod: &Value) -> Result<Mutation, Vec<Mistake>> {
        let mut given = Given::default();
        given.set("tls-secret", "app-tls").unwrap();
        mutate(pod, &given)
    }

    #[test]
    fn a_record_without_a_sidecar_protects_nobody() {
        let app = json!({ "name": "app", "ports": [{ "containerPort": 8080 }] });
        let stale = json!({ "apiVersion": "v1", "kind": "Pod", "spec": { "containers": [app] },
            "metadata": { "annotations": { (record::INJECTED): "x" } } });
        let mutation = mutated(&stale).unwrap();
        let mut made = stale;
        for change in &mutation.changes {
            super::super::writing::make(&mut made, change);
        }
        assert_eq!(made["spec"]["initContainers"][0]["name"], "portcullis");
        assert!(record::of(&made).unwrap().is_some());
        assert_eq!(mutated(&made).unwrap().changes, []);
    }

    #[test]
    fn a_jobs_pod_without_a_port_and_one_that_a_label_opts_out_are_left_and_it_is_told() {
        let owner = json!([{ "kind": "Job", "name": "nightly", "controller": true }]);
        let of = |metadata: Value| {
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": { "containers": [{ "name": "app" }] } })
        };
        for (metadata, told) in [
            (json!({ "ownerReferences": owner }), "serves nobody"),
            (
                json!({ "labels": { "portcullis.dev/inject": "disabled" } }),
                "left alone",
            ),
        ] {
            let mutation = mutated(&of(metadata)).unwrap();
            assert_eq!(mutation.changes, []);
            assert!(
                mutation.notes[0].text.contains(told),
                "{:?}",
                mutation.notes
            );
        }
        assert!(mutated(&of(json!({}))).is_err());
    }

    #[test]
    fn more_than_a_node_could_run_is_refused_at_once() {
        let ports: Vec<_> = (0..50_000)
            .map(|port| json!({ "name": format!("p{port}"), "containerPort": 80 }))
            .collect();
        let many = json!({ "apiVersion": "v1", "kind": "Pod", "spec": {
            "containers": [{ "name": "a", "ports": ports }, { "name": "b", "ports": ports }] } });
        assert!(
            mutated(&many).unwrap_err()[0]
                .text
                .contains("more than 2000")
        );
        let annotations: serde_json::Map<_, _> = (0..20_000)
            .map(|number| {
                (
                    format!("portcullis.dev/{number}{}", "x".repeat(200)),
                    json!("y"),
                )
            })
            .collect();
        let odd = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "annotations": annotations },
            "spec": { "containers": [{ "name": "a" }] } });
        assert!(mutated(&odd).unwrap_err().len() < 60);
    }

    #[test]
    fn kinds_that_are_not_known_are_left() {
        for object in [
            json!({ "kind": "Pod" }),
            json!({ "apiVersion": "v1", "kind": "Secret" }),
            json!(7),
        ] {
            let left = mutate(&object, &Given::default());
            assert_eq!(left, Ok(Mutation::default()));
        }
    }

    /// Anything, under keys that are looked at.
    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            proptest::sample::select(WORDS).prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 48, 4, |inner| {
            let key = proptest::sample::select(WORDS).prop_map(str::to_owned);
            let map = proptest::collection::vec((key, inner.clone()), 0..5);
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(Value::from),
                map.prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    const WORDS: &[&str] = &[
        "annotations",
        "app",
        "containerPort",
        "containers",
        "exec",
        "httpGet",
        "initContainers",
        "labels",
        "lifecycle",
        "livenessProbe",
        "metadata",
        "name",
        "path",
        "port",
        "portcullis",
        "portcullis.dev/target-port",
        "portcullis.dev/tls-secret",
        "ports",
        "preStop",
        "protocol",
        "readinessProbe",
        "securityContext",
        "seconds",
        "sleep",
        "terminationGracePeriodSeconds",
        "volumes",
    ];

    proptest! {
        #[test]
        fn no_pod_makes_it_panic(metadata in anything(), spec in anything(), containers in anything()) {
            let mut given = Given::default();
            given.set("tls-secret", "app-tls").unwrap();
            let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
            let _ = mutate(&pod, &given);
            pod["spec"] = json!({ "containers": containers, "initContainers": spec, "volumes": metadata });
            let _ = mutate(&pod, &given);
            let app = json!({ "name": "app", "ports": [{ "containerPort": 8080 }], "livenessProbe": containers, "lifecycle": spec });
            pod = json!({ "apiVersion": "v1", "kind": "Pod", "spec": { "containers": [app], "volumes": metadata } });
            let _ = mutate(&pod, &given);
        }
    }
}
