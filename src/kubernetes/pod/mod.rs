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
use super::settings::{Given, Mode, Settings};
pub(crate) use ending::KILLED;
pub(crate) use service::without_hash;
pub(crate) use survey::has_lost_its_record;
pub(crate) use told::BYPASS;

use ending::Ending;
use probes::Probes;
use shape::Pod;
use sidecar::Told;
use survey::{Fit, Survey, survey};

/// What the pod is of.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
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
                "spec": { key: [{ "name": "portcullis" }], "volumes": [{ "name": "portcullis-tls" }], "hostNetwork": true },
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

    /// A map of these keys: the first ones are there, each of the others may be, and may be null.
    fn map(sure: Vec<Key>, keys: Vec<Key>) -> BoxedStrategy<Value> {
        let named = |(key, value): Key, odds: (u32, u32)| {
            let value = prop_oneof![
                8 => value.prop_map(Some),
                odds.0 => Just(None),
                odds.1 => Just(Some(Value::Null)),
            ];
            value.prop_map(move |value| value.map(|value| (key.to_owned(), value)))
        };
        let sure = sure.into_iter().map(|key| named(key, (0, 0)));
        let keys = keys.into_iter().map(|key| named(key, (3, 1)));
        let all: Vec<_> = sure.chain(keys).collect();
        let map = |keys: Vec<Option<_>>| Value::Object(keys.into_iter().flatten().collect());
        all.prop_map(map).boxed()
    }

    type Key = (&'static str, BoxedStrategy<Value>);

    fn list(item: BoxedStrategy<Value>, least: usize) -> BoxedStrategy<Value> {
        let items = prop::collection::vec(item, least..4);
        items.prop_map(Value::from).boxed()
    }

    fn one_of(values: impl Into<Vec<Value>>) -> BoxedStrategy<Value> {
        prop::sample::select(values.into()).boxed()
    }

    fn container() -> BoxedStrategy<Value> {
        let number = || one_of([80, 8080].map(Value::from));
        let path = one_of(["/", "/a", ""].map(Value::from));
        let get = map(vec![("port", number())], vec![("path", path)]);
        let probe = map(vec![], vec![("httpGet", get)]);
        let hook = one_of([
            json!({ "sleep": { "seconds": 3 } }),
            json!({ "exec": { "command": ["sh", "-c", "sleep 3"] } }),
            json!({ "exec": { "command": ["true"] } }),
            json!({}),
        ]);
        let name = one_of(["http", "https", "probe"].map(Value::from));
        let port = map(vec![("containerPort", number())], vec![("name", name)]);
        map(
            vec![("name", one_of(["app", "log"].map(Value::from)))],
            vec![
                ("ports", list(port, 0)),
                ("startupProbe", probe.clone()),
                ("livenessProbe", probe.clone()),
                ("readinessProbe", probe),
                ("lifecycle", map(vec![], vec![("preStop", hook)])),
            ],
        )
    }

    /// Templates that nothing speaks against, with all that may be there, empty, null or missing.
    fn template() -> impl Strategy<Value = Value> {
        let word = |name: &'static str, words: &[&'static str]| {
            let words = words.iter().map(|word| json!(word)).collect::<Vec<_>>();
            (name, prop::sample::select(words).boxed())
        };
        let annotations = map(
            vec![word("portcullis.dev/tls-secret", &["a-tls"])],
            vec![
                word("kubectl.kubernetes.io/default-container", &["app", "log"]),
                word("portcullis.dev/pre-stop", &["sleep", "exec", "none"]),
                word("portcullis.dev/drain-delay", &["0", "1500ms", "1m"]),
            ],
        );
        // Null is no text.
        let annotations = annotations.prop_map(|mut annotations| {
            if let Some(keys) = annotations.as_object_mut() {
                keys.retain(|_, value| !value.is_null());
            }
            annotations
        });
        let annotations = annotations.boxed();
        let volume = map(vec![("name", one_of([json!("data")]))], vec![]);
        let spec = map(
            vec![("containers", list(container(), 1))],
            vec![
                ("initContainers", list(container(), 0)),
                ("volumes", list(volume, 0)),
                (
                    "terminationGracePeriodSeconds",
                    one_of([0, 30, 600].map(Value::from)),
                ),
            ],
        );
        let metadata = map(vec![], vec![("annotations", annotations)]);
        map(vec![("spec", spec)], vec![("metadata", metadata)])
    }

    fn all_places(value: &Value, at: &Path, places: &mut Vec<Path>) {
        places.push(at.clone());
        match value {
            Value::Object(keys) => keys
                .iter()
                .for_each(|(key, value)| all_places(value, &at.to(&**key), places)),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items.for_each(|(item, value)| all_places(value, &at.to(item), places));
            }
            _ => {}
        }
    }

    /// The app of a template like that is said by flags.
    fn injected_somehow(template: &Value, is_classic: bool) -> Option<Injected> {
        let mode = if is_classic { "classic" } else { "native" };
        let pairs = [("target-port", "8080"), ("mode", mode)];
        match patched(template, &pairs) {
            Ok(Patch::Injected(injected)) => Some(injected),
            Ok(Patch::Left(why)) => panic!("{why:?}"),
            // Nothing may say which of several containers it is.
            Err(mistakes) => {
                assert!(
                    mistakes
                        .iter()
                        .all(|told| told.starts_with("spec.containers: which of")),
                    "{mistakes:?}"
                );
                None
            }
        }
    }

    proptest! {
        #[test]
        fn no_json_is_too_strange(template in anything(), is_job in any::<bool>()) {
            let _ = patch(&template, &owner(is_job), &given(&[]), &Hints::default());
        }

        #[test]
        fn nothing_in_a_template_is_too_strange(template in template(), strange in anything(), place in any::<prop::sample::Index>()) {
            let mut places = Vec::new();
            all_places(&template, &Path::default(), &mut places);
            let mut template = template;
            if let Some(value) = template.pointer_mut(&place.get(&places).pointer()) {
                *value = strange;
            }
            let _ = patch(&template, &owner(false), &given(&[("target-port", "8080")]), &Hints::default());
        }

        #[test]
        fn every_change_can_be_done_and_none_lies_inside_another(template in template(), is_classic in any::<bool>()) {
            let Some(injected) = injected_somehow(&template, is_classic) else {
                return Ok(());
            };
            let after = after(&template, &injected);
            prop_assert!(shape::named(&after, "portcullis").is_some());
            prop_assert!(Pod::read(&after).is_ok());
            for (number, change) in injected.changes.iter().enumerate() {
                let before = &injected.changes[..number];
                prop_assert!(before.iter().all(|other| !change.at.0.starts_with(&other.at.0)));
            }
        }
    }
}
