//! What injection does to one pod: the sidecar, its volumes, the app's probes and the pod's end.

mod app;
mod ending;
mod place;
mod probes;
mod rules;
mod service;
mod shape;
mod sidecar;
mod survey;
mod told;
mod volumes;

use serde_json::Value;

use super::change::{Change, Mistake, Note, Path};
use super::settings::{
    Given, INJECT, INJECTED, Mode, Settings, annotation, is_disabled, read, said,
};
use ending::Ending;
use probes::Probes;
use shape::Pod;
use sidecar::Told;
use survey::{Fit, Survey, survey};

/// What the pod is of.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// `Pod` where it is its own.
    pub(crate) kind: String,
    /// None where it gets one later.
    pub(crate) name: Option<String>,
    /// Whether its pods have to end by themselves.
    pub(crate) is_job: bool,
}

/// What other objects of the input say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hints {
    /// The port that clients know.
    pub(crate) public_port: Option<u16>,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Patch {
    Injected(Injected),
    /// As it is, and why.
    Left(Note),
}

/// A pod with a sidecar. All places are told from the pod or its template on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Injected {
    pub(crate) changes: Vec<Change>,
    pub(crate) notes: Vec<Note>,
    pub(crate) app: App,
    /// Whether a hook of the kubelet's own sleeps, which needs Kubernetes 1.30.
    pub(crate) needs_sleep: bool,
}

/// What the sidecar stands in front of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct App {
    pub(crate) container: String,
    /// Its plain port.
    pub(crate) port: u16,
    /// What its container calls that port.
    pub(crate) names: Vec<String>,
    /// The sidecar's port.
    pub(crate) https: u16,
    /// The other TCP ports of the pod's containers, which stay what they are.
    pub(crate) others: Vec<(u16, Option<String>)>,
}

/// What the sidecar stands in front of, and `None` for a pod that is left alone.
///
/// # Errors
/// All the mistakes that `patch` would tell.
pub(crate) fn app(
    template: &Value,
    owner: &Owner,
    given: &Given,
) -> Result<Option<App>, Vec<Mistake>> {
    Ok(match survey(template, owner, given)? {
        Survey::Left(_) => None,
        Survey::Fit(fit) => Some(fit.found.app),
    })
}

/// What injection does to a pod or a template of one.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn patch(
    template: &Value,
    owner: &Owner,
    given: &Given,
    hints: &Hints,
) -> Result<Patch, Vec<Mistake>> {
    Ok(match survey(template, owner, given)? {
        Survey::Left(why) => Patch::Left(why),
        Survey::Fit(fit) => {
            let service = service::name(template, owner, &fit.settings);
            Patch::Injected(injected(*fit, service.as_deref(), hints))
        }
    })
}

/// The labels of a pod or a template of one.
pub(crate) fn labels(template: &Value) -> impl Iterator<Item = (&str, &str)> {
    let labels = template
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    labels.filter_map(|(name, value)| Some((&**name, value.as_str()?)))
}

fn injected(fit: Fit<'_>, service: Option<&str>, hints: &Hints) -> Injected {
    let Fit {
        pod,
        settings,
        found,
    } = fit;
    let container = &pod.containers[found.item];
    let probes = probes::moved(container, found.app.port, &settings);
    let ending = ending::of(&pod, container, &settings);
    let told = Told {
        app: &found.app,
        service,
        public_port: settings.redirect_port.or(hints.public_port).unwrap_or(443),
        health: probes.health.as_deref(),
        grace: ending.grace,
    };
    let sidecar = sidecar::container(&pod, &settings, &told);
    let mut notes: Vec<_> = found.note.into_iter().collect();
    notes.extend(told::notes(&pod, found.item, &found.app, &settings));
    let Probes {
        mut changes,
        notes: of_probes,
        ..
    } = probes;
    let Ending {
        changes: at_end,
        notes: of_end,
        needs_sleep,
        ..
    } = ending;
    notes.extend(of_probes.into_iter().chain(of_end));
    changes.extend(at_end);
    changes.extend(added(&pod, &settings, sidecar));
    Injected {
        changes,
        notes,
        app: found.app,
        needs_sleep,
    }
}

/// Items of lists, which come last: the places of all others are those of the pod as it was.
fn added(pod: &Pod<'_>, settings: &Settings, sidecar: Value) -> Vec<Change> {
    let at = Path::default().to("spec");
    let volumes = volumes::volumes(pod, settings);
    let mut changes = place::items(pod.spec, &at, "volumes", volumes);
    match settings.mode {
        // The first one, so that it is there before all others, and for longer.
        Mode::Native => changes.push(place::first_item(pod.spec, &at, "initContainers", sidecar)),
        Mode::Classic => changes.extend(place::items(pod.spec, &at, "containers", vec![sidecar])),
    }
    changes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::super::change::{Edit, Step};
    use super::*;

    fn owner(is_job: bool) -> Owner {
        Owner {
            kind: "Deployment".to_owned(),
            name: Some("shop".to_owned()),
            is_job,
        }
    }

    fn given(pairs: &[(&str, &str)]) -> Given {
        let mut given = Given::default();
        for (name, value) in [("tls-secret", "shop-tls")].iter().chain(pairs) {
            given.set(name, value).unwrap();
        }
        given
    }

    fn patched(template: &Value, pairs: &[(&str, &str)]) -> Result<Patch, Vec<String>> {
        let patch = patch(template, &owner(false), &given(pairs), &Hints::default());
        let told = |mistake: &Mistake| format!("{}: {}", mistake.at, mistake.text);
        patch.map_err(|mistakes| mistakes.iter().map(told).collect())
    }

    fn injected_into(template: &Value, pairs: &[(&str, &str)]) -> Injected {
        match patched(template, pairs) {
            Ok(Patch::Injected(injected)) => injected,
            other => panic!("{other:?}"),
        }
    }

    fn left(template: &Value) -> String {
        match patched(template, &[]) {
            Ok(Patch::Left(note)) => format!("{}: {}", note.at, note.text),
            other => panic!("{other:?}"),
        }
    }

    /// Does a change as RFC 6902 has it; panics where that is an error there.
    fn apply(object: &mut Value, change: &Change) {
        let (last, holder) = change.at.0.split_last().unwrap();
        let holder = Path(holder.to_vec()).pointer();
        let holder = object.pointer_mut(&holder).unwrap();
        match (last, change.edit) {
            (Step::Key(key), Edit::Add) => {
                let before = holder
                    .as_object_mut()
                    .unwrap()
                    .insert(key.clone(), change.value.clone());
                assert_eq!(before, None, "{}", change.at);
            }
            (Step::Key(key), Edit::Replace) => *holder.get_mut(key).unwrap() = change.value.clone(),
            (Step::Item(item), Edit::Add) => holder
                .as_array_mut()
                .unwrap()
                .insert(*item, change.value.clone()),
            (Step::Item(item), Edit::Replace) => holder[*item] = change.value.clone(),
        }
    }

    fn after(template: &Value, injected: &Injected) -> Value {
        let mut object = template.clone();
        for change in &injected.changes {
            apply(&mut object, change);
        }
        object
    }

    #[test]
    fn a_small_pod_gets_all_that_it_needs() {
        let template = json!({
            "metadata": { "labels": { "app": "shop" } },
            "spec": {
                "containers": [{
                    "name": "app",
                    "image": "shop:1",
                    "ports": [{ "name": "http", "containerPort": 8080 }],
                    "livenessProbe": { "httpGet": { "path": "/healthz", "port": "http" }, "timeoutSeconds": 3 },
                }],
                "volumes": [{ "name": "data" }],
                "initContainers": [{ "name": "migrate" }],
            },
        });
        let injected = injected_into(&template, &[]);
        let after = after(&template, &injected);
        assert_eq!(
            after["spec"]["containers"],
            json!([{
                "name": "app",
                "image": "shop:1",
                "ports": [{ "name": "http", "containerPort": 8080 }],
                "livenessProbe": { "httpGet": { "path": "/app", "port": 9902 }, "timeoutSeconds": 3 },
                "lifecycle": { "preStop": { "sleep": { "seconds": 26 } } },
            }])
        );
        let spec = &after["spec"];
        assert_eq!(spec["terminationGracePeriodSeconds"], 56);
        assert_eq!(spec["volumes"][1]["secret"]["secretName"], "shop-tls");
        assert_eq!(spec["initContainers"][1]["name"], "migrate");
        let sidecar = &spec["initContainers"][0];
        assert_eq!(sidecar["name"], "portcullis");
        assert_eq!(
            sidecar["env"],
            json!([
                { "name": "SRV_NAME", "value": "shop" },
                { "name": "PORT", "value": "8443" },
                { "name": "TARGET", "value": "http://localhost:8080" },
                { "name": "PORTCULLIS_APP_HEALTH", "value": "/healthz" },
                { "name": "PORTCULLIS_GRACE_PERIOD", "value": "56s" },
            ])
        );
        assert!(injected.needs_sleep);
        let app = app(&template, &owner(false), &given(&[])).unwrap();
        assert_eq!(app, Some(injected.app));
    }

    #[test]
    fn a_classic_sidecar_is_the_last_container() {
        let template = json!({ "spec": {
            "containers": [{ "name": "app", "ports": [{ "containerPort": 80 }] }, { "name": "log" }],
        } });
        let injected = injected_into(&template, &[("mode", "classic"), ("pre-stop", "exec")]);
        let after = after(&template, &injected);
        assert_eq!(after["spec"]["containers"][2]["name"], "portcullis");
        assert_eq!(after["spec"].get("initContainers"), None);
        assert!(!injected.needs_sleep);
    }

    #[test]
    fn redirects_name_the_port_that_is_set_else_the_one_that_clients_know() {
        let template = json!({ "spec": { "containers": [{ "name": "app", "ports": [{ "containerPort": 80 }] }] } });
        let port = |pairs: &[(&str, &str)]| {
            let hints = Hints {
                public_port: Some(80),
            };
            let patch = patch(&template, &owner(false), &given(pairs), &hints).unwrap();
            let Patch::Injected(injected) = patch else {
                panic!("{patch:?}");
            };
            let env = after(&template, &injected)["spec"]["initContainers"][0]["env"].clone();
            let env = env.as_array().unwrap().clone();
            let port = env
                .into_iter()
                .find(|one| one["name"] == "PORTCULLIS_REDIRECT_PORT");
            port.map(|port| port["value"].clone())
        };
        assert_eq!(port(&[]), Some(json!("80")));
        assert_eq!(port(&[("redirect-port", "8000")]), Some(json!("8000")));
        assert_eq!(port(&[("redirect-port", "443")]), None);
    }

    #[test]
    fn a_pod_that_has_a_sidecar_or_wants_none_is_left() {
        let template = |annotation: &str, value: &str, key: &str| {
            json!({
                "metadata": { "annotations": { annotation: value, "portcullis.dev/mode": "wrong" } },
                "spec": { key: [{ "name": "portcullis" }], "hostNetwork": true },
            })
        };
        let told = left(&template("portcullis.dev/inject", "disabled", "containers"));
        assert_eq!(
            told,
            "metadata.annotations[portcullis.dev/inject]: left alone, as it says"
        );
        let told = left(&template("portcullis.dev/injected", "", "containers"));
        assert!(told.contains("the sidecar is there already"));
        for (key, place) in [
            ("containers", "spec.containers[0]: "),
            ("initContainers", "spec.initContainers[0]: "),
        ] {
            let told = left(&template("a", "b", key));
            assert!(
                told.starts_with(place) && told.contains("not put there by injection"),
                "{told}"
            );
        }
    }

    #[test]
    fn all_mistakes_are_told_together() {
        let template = json!({
            "metadata": { "annotations": { "portcullis.dev/mode": "old" } },
            "spec": { "hostNetwork": true, "containers": [{ "name": "a" }, { "name": "b" }] },
        });
        let told = patched(&template, &[]).unwrap_err();
        let starts = [
            "metadata.annotations[portcullis.dev/mode]",
            "spec.hostNetwork",
            "spec.containers",
        ];
        assert_eq!(told.len(), starts.len());
        assert!(
            told.iter()
                .zip(starts)
                .all(|(told, start)| told.starts_with(start)),
            "{told:?}"
        );
    }

    #[test]
    fn a_wrong_target_port_is_told_once() {
        let template = json!({
            "metadata": { "annotations": { "portcullis.dev/target-port": "Http" } },
            "spec": { "containers": [{ "name": "a" }] },
        });
        assert_eq!(patched(&template, &[]).unwrap_err().len(), 1);
    }

    /// What a pod is made of, in no order.
    fn word() -> impl Strategy<Value = String> {
        let words = "metadata annotations labels spec containers initContainers volumes name ports containerPort protocol \
            hostPort hostNetwork livenessProbe startupProbe readinessProbe httpGet tcpSocket path port scheme lifecycle \
            preStop sleep seconds exec command terminationGracePeriodSeconds securityContext fsGroup restartPolicy \
            portcullis.dev/target-port portcullis.dev/mode portcullis.dev/inject portcullis app http /healthz 8080";
        prop::sample::select(words.split_whitespace().collect::<Vec<_>>()).prop_map(str::to_owned)
    }

    fn anything() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0_u16..10_000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            word().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((word(), inner), 0..6)
                    .prop_map(|keys| Map::from_iter(keys).into()),
            ]
        })
    }

    /// A map of these keys, each of which may be missing, and may be something else.
    fn map(keys: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
        let key = |(key, value): (&'static str, BoxedStrategy<Value>)| {
            let value = prop_oneof![
                8 => value.prop_map(Some),
                2 => Just(None),
                1 => Just(Some(Value::Null)),
                1 => anything().prop_map(Some),
            ];
            value.prop_map(move |value| value.map(|value| (key.to_owned(), value)))
        };
        let keys: Vec<_> = keys.into_iter().map(key).collect();
        keys.prop_map(|keys| Value::Object(keys.into_iter().flatten().collect()))
            .boxed()
    }

    fn list(item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
        prop::collection::vec(item, 0..3)
            .prop_map(Value::from)
            .boxed()
    }

    fn one_of(values: Vec<Value>) -> BoxedStrategy<Value> {
        prop::sample::select(values).boxed()
    }

    /// Something like a template.
    fn template() -> impl Strategy<Value = Value> {
        let number = || one_of([80, 8080, 9902].map(Value::from).to_vec());
        let get = map(vec![
            ("path", one_of(vec![json!("/"), json!("/a")])),
            ("port", number()),
        ]);
        let probe = map(vec![("httpGet", get)]);
        let hook = one_of(vec![
            json!({ "sleep": { "seconds": 3 } }),
            json!({ "exec": { "command": ["sh", "-c", "sleep 3"] } }),
            json!({}),
        ]);
        let container = map(vec![
            ("name", one_of(vec![json!("app"), json!("log")])),
            (
                "ports",
                list(map(vec![
                    ("containerPort", number()),
                    ("name", one_of(vec![json!("http")])),
                ])),
            ),
            ("livenessProbe", probe.clone()),
            ("readinessProbe", probe),
            ("lifecycle", map(vec![("preStop", hook)])),
        ]);
        let spec = map(vec![
            ("containers", list(container.clone())),
            ("initContainers", list(container)),
            (
                "volumes",
                list(map(vec![("name", one_of(vec![json!("data")]))])),
            ),
            (
                "terminationGracePeriodSeconds",
                one_of(vec![json!(0), json!(30), json!(600)]),
            ),
        ]);
        let annotations = map(vec![(
            "portcullis.dev/mode",
            one_of(vec![json!("classic")]),
        )]);
        map(vec![
            ("metadata", map(vec![("annotations", annotations)])),
            ("spec", spec),
        ])
    }

    proptest! {
        #[test]
        fn no_json_is_too_strange(template in anything(), is_job in any::<bool>()) {
            let _ = patch(&template, &owner(is_job), &given(&[]), &Hints::default());
        }

        #[test]
        fn every_change_is_one_that_can_be_done(template in template()) {
            if let Ok(Patch::Injected(injected)) = patched(&template, &[]) {
                let after = after(&template, &injected);
                prop_assert!(shape::named(&after, "portcullis").is_some());
                prop_assert!(Pod::read(&after).is_ok());
            }
        }

        #[test]
        fn no_change_lies_inside_another(template in template()) {
            if let Ok(Patch::Injected(injected)) = patched(&template, &[]) {
                for (number, change) in injected.changes.iter().enumerate() {
                    let before = &injected.changes[..number];
                    prop_assert!(before.iter().all(|other| !change.at.0.starts_with(&other.at.0)));
                }
            }
        }
    }
}
