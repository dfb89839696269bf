//! A Service: its ports that lead to an app lead to the app's sidecar instead, under their old numbers and names.

mod annotations;
mod plan;
mod ports;
mod remarks;

use std::collections::BTreeMap;

use serde_json::Value;

use self::plan::Plan;
use self::ports::{Port, Target};
use super::change::{Change, Mistake, Note, Path};

/// Labels of pods.
pub(crate) type Labels = BTreeMap<String, String>;

/// Pods that have a sidecar.
#[derive(Clone, Debug, Default)]
pub(crate) struct Protected {
    /// Whose pods, for people: `Deployment web`.
    pub(crate) who: String,
    pub(crate) namespace: Option<String>,
    pub(crate) labels: Labels,
    /// The app's port, and its names in the app's container.
    pub(crate) port: u16,
    pub(crate) names: Vec<String>,
    /// The sidecar's port.
    pub(crate) https: u16,
    /// The other ports of the pod, which nobody is in front of.
    pub(crate) others: Vec<(u16, Option<String>)>,
}

impl Protected {
    /// Whether a port of a Service leads to the app.
    fn serves(&self, target: &Target) -> bool {
        leads(target, self.port, &self.names)
    }

    /// Whether a port of a Service leads to another port of the pod.
    fn exposes(&self, target: &Target) -> bool {
        self.others.iter().any(|(port, name)| match target {
            Target::Number(number) => number == port,
            Target::Name(wanted) => name.as_ref() == Some(wanted),
        })
    }
}

/// Pods in the same input that have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bare {
    pub(crate) who: String,
    pub(crate) namespace: Option<String>,
    pub(crate) labels: Labels,
}

/// A port of a Service that leads to a sidecar now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MovedPort {
    pub(crate) number: u16,
    pub(crate) name: Option<String>,
    /// Where it led to: a number, or the name of a port.
    pub(crate) was: String,
    /// Where it leads to.
    pub(crate) https: u16,
}

/// A Service with such ports, as other objects refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MovedService {
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) labels: Labels,
    pub(crate) ports: Vec<MovedPort>,
}

/// What is done to a Service.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub(crate) changes: Vec<Change>,
    pub(crate) notes: Vec<Note>,
    /// The port that clients come to.
    pub(crate) public_port: Option<u16>,
    /// Nothing where no port was moved.
    pub(crate) service: Option<MovedService>,
}

impl Moved {
    fn note(&mut self, at: Path, text: String) {
        self.notes.push(Note { at, text });
    }
}

/// The port at which clients find the app of these pods: 443 where it is one of them, else the lowest. A headless Service
/// has none, since its clients connect to the pods themselves.
pub(crate) fn public_port(service: &Value, app: &Protected) -> Option<u16> {
    let settings = annotations::read(service).ok()?;
    let is_its = selects(service, &app.labels) && namespace_of(service) == app.namespace;
    if settings.is_disabled || !is_its {
        return None;
    }
    let led = |found: &Port| match &settings.target {
        Some(target) => found.target == *target,
        // One that leads to the sidecar already was moved by somebody.
        None => app.serves(&found.target) || found.target == Target::Number(app.https),
    };
    let numbers = ports::of(service)
        .filter(led)
        .map(|found| found.number)
        .collect();
    public(service, numbers)
}

/// What is done to a Service for these pods; or for those that its own annotation tells, wherever they are.
pub(crate) fn patch(
    service: &Value,
    protected: &[Protected],
    bare: &[Bare],
) -> Result<Moved, Vec<Mistake>> {
    let settings = annotations::read(service)?;
    let mut moved = Moved::default();
    if settings.is_injected {
        return Ok(moved);
    }
    if settings.is_disabled {
        remarks::disabled(service, protected, &mut moved);
        return Ok(moved);
    }
    let plan = match &settings.target {
        Some(target) => plan::told(service, &settings, target, protected),
        None => plan::found(service, protected, bare, &mut moved),
    }?;
    for (port, https) in &plan {
        ports::move_to(*https, port, &mut moved);
    }
    if !plan.is_empty() {
        moved.public_port = public(service, plan.iter().map(|(port, _)| port.number).collect());
        moved.service = Some(named(service, &plan));
        remarks::moved(service, &plan, !protected.is_empty(), &mut moved);
    }
    Ok(moved)
}

fn leads(target: &Target, port: u16, names: &[String]) -> bool {
    match target {
        Target::Number(number) => *number == port,
        Target::Name(name) => names.contains(name),
    }
}

fn public(service: &Value, numbers: Vec<u16>) -> Option<u16> {
    if is_headless(service) {
        None
    } else if numbers.contains(&443) {
        Some(443)
    } else {
        numbers.into_iter().min()
    }
}

fn named(service: &Value, plan: &Plan<'_>) -> MovedService {
    let ports = plan.iter().map(|(port, https)| MovedPort {
        number: port.number,
        name: port.name.map(str::to_owned),
        was: port.target.to_string(),
        https: *https,
    });
    let name = service["metadata"]["name"].as_str();
    MovedService {
        name: name.unwrap_or_default().to_owned(),
        namespace: namespace_of(service),
        labels: labels(&service["metadata"]["labels"]),
        ports: ports.collect(),
    }
}

/// What of an object is a map of strings, as labels are.
pub(crate) fn labels(object: &Value) -> Labels {
    let entries = object.as_object().into_iter().flatten();
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    entries.filter_map(text).collect()
}

pub(super) fn namespace_of(object: &Value) -> Option<String> {
    let namespace = object["metadata"]["namespace"].as_str();
    namespace.filter(|name| !name.is_empty()).map(str::to_owned)
}

fn is_headless(service: &Value) -> bool {
    service["spec"]["clusterIP"] == "None"
}

fn has_selector(service: &Value) -> bool {
    let selector = service["spec"]["selector"].as_object();
    selector.is_some_and(|selector| !selector.is_empty())
        && service["spec"]["type"] != "ExternalName"
}

/// Whether it selects pods with these labels, if they are in its namespace.
fn selects(service: &Value, labels: &Labels) -> bool {
    let mut selector = service["spec"]["selector"]
        .as_object()
        .into_iter()
        .flatten();
    has_selector(service)
        && selector.all(|(key, value)| labels.get(key).is_some_and(|label| value == label))
}

fn reaches(service: &Value, pods: &Protected) -> bool {
    selects(service, &pods.labels) && namespace_of(service) == pods.namespace
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn web() -> Protected {
        Protected {
            who: "Deployment web".to_owned(),
            labels: labels(&json!({ "app": "web", "tier": "front" })),
            port: 8080,
            names: vec!["http".to_owned()],
            https: 8443,
            others: vec![(9100, Some("metrics".to_owned()))],
            ..Protected::default()
        }
    }

    fn service(ports: &Value) -> Value {
        json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": ports } })
    }

    fn annotated(annotations: &Value, ports: &Value) -> Value {
        let mut service = service(ports);
        service["metadata"]["annotations"] = annotations.clone();
        service
    }

    fn operations(moved: &Moved) -> Vec<Value> {
        moved.changes.iter().map(Change::operation).collect()
    }

    fn done(service: &Value) -> Moved {
        patch(service, &[web()], &[]).unwrap()
    }

    fn notes(moved: &Moved) -> String {
        let line = |note: &Note| format!("{}: {}\n", note.at, note.text);
        moved.notes.iter().map(line).collect()
    }

    fn mistakes(service: &Value) -> String {
        let line = |mistake: &Mistake| format!("{}: {}\n", mistake.at, mistake.text);
        let mistakes = patch(service, &[web()], &[]).unwrap_err();
        mistakes.iter().map(line).collect()
    }

    #[test]
    fn a_port_that_leads_to_the_app_leads_to_the_sidecar_however_it_is_written() {
        let moved = done(&service(&json!([
            { "port": 80, "targetPort": 8080 },
            { "port": 81, "targetPort": "http", "protocol": "TCP" },
            { "port": 8080 },
        ])));
        let expected = [
            json!({ "op": "replace", "path": "/spec/ports/0/targetPort", "value": 8443 }),
            json!({ "op": "replace", "path": "/spec/ports/1/targetPort", "value": 8443 }),
            json!({ "op": "add", "path": "/spec/ports/2/targetPort", "value": 8443 }),
        ];
        assert_eq!(operations(&moved), expected);
        assert_eq!(moved.public_port, Some(80));
        assert!(notes(&moved).contains("spec.ports[1]: clients of port 81 have to speak TLS"));
    }

    #[test]
    fn an_empty_target_is_replaced() {
        let moved = done(&service(&json!([{ "port": 8080, "targetPort": null }])));
        assert_eq!(operations(&moved)[0]["op"], "replace");
    }

    #[test]
    fn ports_that_do_not_lead_to_the_app_are_left_and_those_of_the_pod_are_told() {
        let moved = done(&service(&json!([
            { "port": 9100, "targetPort": "metrics" },
            { "port": 8080, "protocol": "UDP" },
            { "port": 5432 },
        ])));
        assert!(moved.changes.is_empty() && moved.service.is_none() && moved.public_port.is_none());
        let notes = notes(&moved);
        assert_eq!(notes.lines().count(), 1);
        assert!(notes.contains("spec.ports[0]: left: it leads to port metrics of Deployment web"));
    }

    #[test]
    fn the_protocol_says_tls_where_it_said_plain() {
        for (before, after) in [
            ("http", "https"),
            ("kubernetes.io/h2c", "https"),
            ("kubernetes.io/ws", "kubernetes.io/wss"),
        ] {
            let port = json!([{ "port": 80, "targetPort": 8080, "appProtocol": before }]);
            let operations = operations(&done(&service(&port)));
            assert_eq!(operations[1]["path"], "/spec/ports/0/appProtocol");
            assert_eq!(operations[1]["value"], after);
        }
        let port = |protocol| json!([{ "port": 80, "targetPort": 8080, "appProtocol": protocol }]);
        let moved = done(&service(&port("grpc")));
        assert_eq!(moved.changes.len(), 1);
        assert!(notes(&moved).contains("appProtocol: grpc is left"));
        assert_eq!(done(&service(&port("https"))).notes.len(), 1);
    }

    #[test]
    fn the_public_port_is_443_or_the_lowest_and_a_headless_service_has_none() {
        let public = |service: &Value| public_port(service, &web());
        let mut both = service(
            &json!([{ "port": 80, "targetPort": 8080 }, { "port": 443, "targetPort": "http" }]),
        );
        assert_eq!(public(&both), Some(443));
        assert_eq!(done(&both).public_port, Some(443));
        assert_eq!(
            public_port(
                &both,
                &Protected {
                    namespace: Some("prod".to_owned()),
                    ..web()
                }
            ),
            None
        );
        both["spec"]["clusterIP"] = json!("None");
        assert_eq!(public(&both), None);
        assert!(
            notes(&done(&both))
                .contains("on port 8443 they have TLS, on 8080 they still have the app")
        );
        let lowest = service(&json!([{ "port": 8080 }, { "port": 80, "targetPort": "http" }]));
        assert_eq!(public(&lowest), Some(80));
        assert_eq!(public(&service(&json!([{ "port": 9100 }]))), None);
        let told = annotated(
            &json!({ "portcullis.dev/target-port": "web" }),
            &json!([{ "port": 82, "targetPort": "web" }]),
        );
        assert_eq!(public(&told), Some(82));
    }

    #[test]
    fn a_service_that_selects_no_such_pods_is_left() {
        let ports = json!([{ "port": 80, "targetPort": 8080 }]);
        for spec in [
            json!({ "selector": { "app": "other" }, "ports": ports }),
            json!({ "selector": {}, "ports": ports }),
            json!({ "ports": ports }),
            json!({ "type": "ExternalName", "selector": { "app": "web" }, "ports": ports }),
        ] {
            let moved = done(&json!({ "spec": spec }));
            assert!(moved.changes.is_empty() && moved.notes.is_empty());
        }
    }

    #[test]
    fn a_namespace_that_is_not_said_is_not_guessed() {
        let mut there = service(&json!([{ "port": 80, "targetPort": 8080 }]));
        there["metadata"]["namespace"] = json!("prod");
        let moved = done(&there);
        assert!(moved.changes.is_empty());
        assert!(notes(&moved).contains(
            "left, because it says namespace prod, and Deployment web says no namespace"
        ));
        let other = Protected {
            namespace: Some("test".to_owned()),
            ..web()
        };
        assert!(patch(&there, &[other], &[]).unwrap().notes.is_empty());
        let same = Protected {
            namespace: Some("prod".to_owned()),
            ..web()
        };
        assert_eq!(patch(&there, &[same], &[]).unwrap().changes.len(), 1);
    }

    #[test]
    fn a_service_that_also_selects_pods_without_a_sidecar_is_left() {
        let service = service(&json!([{ "port": 80, "targetPort": 8080 }]));
        let bare = Bare {
            who: "Deployment old".to_owned(),
            labels: labels(&json!({ "app": "web" })),
            ..Bare::default()
        };
        let moved = patch(&service, &[web()], std::slice::from_ref(&bare)).unwrap();
        assert!(moved.changes.is_empty() && moved.service.is_none());
        let expected = "spec.selector: left, because it selects Deployment web, which has a sidecar, and Deployment old";
        assert!(notes(&moved).contains(expected));
        let other = Bare {
            labels: labels(&json!({ "app": "batch" })),
            ..bare
        };
        assert_eq!(
            patch(&service, &[web()], &[other]).unwrap().changes.len(),
            1
        );
    }

    #[test]
    fn a_port_that_leads_to_different_things_is_left_and_one_that_leads_to_different_sidecars_is_a_mistake()
     {
        let service = service(&json!([{ "port": 80, "targetPort": 8080 }]));
        let named = |who: &str| Protected {
            who: who.to_owned(),
            ..web()
        };
        let other = Protected {
            port: 3000,
            names: vec![],
            ..named("Deployment api")
        };
        let moved = patch(&service, &[web(), other], &[]).unwrap();
        assert!(moved.changes.is_empty());
        assert!(
            notes(&moved)
                .contains("8080 is the app's port in Deployment web, but not in Deployment api")
        );
        let other = Protected {
            https: 9443,
            ..named("Deployment green")
        };
        let mistakes = patch(&service, &[web(), other], &[]).unwrap_err();
        assert_eq!(mistakes[0].at.to_string(), "spec.ports[0]");
        assert!(
            mistakes[0]
                .text
                .contains("Deployment green, with port 9443")
        );
    }

    #[test]
    fn one_that_was_moved_is_left_and_one_that_is_to_be_left_is_told() {
        let ports = json!([{ "port": 80, "targetPort": 8080 }]);
        let moved = done(&annotated(
            &json!({ "portcullis.dev/injected": "{}" }),
            &ports,
        ));
        assert!(moved.changes.is_empty() && moved.notes.is_empty());
        let moved = done(&annotated(
            &json!({ "portcullis.dev/inject": "disabled" }),
            &ports,
        ));
        assert!(moved.changes.is_empty());
        assert!(notes(&moved).contains("port 80 leads to the plain port 8080 of Deployment web"));
    }

    #[test]
    fn an_annotation_moves_it_without_its_pods() {
        let ports =
            json!([{ "port": 80, "targetPort": "web" }, { "port": 81, "targetPort": 9000 }]);
        let said =
            json!({ "portcullis.dev/target-port": "web", "portcullis.dev/https-port": "9443" });
        let moved = patch(&annotated(&said, &ports), &[], &[]).unwrap();
        let expected =
            [json!({ "op": "replace", "path": "/spec/ports/0/targetPort", "value": 9443 })];
        assert_eq!(operations(&moved), expected);
        let said = json!({ "portcullis.dev/target-port": "9000" });
        let moved = patch(&annotated(&said, &ports), &[], &[]).unwrap();
        assert_eq!(operations(&moved)[0]["path"], "/spec/ports/1/targetPort");
        assert_eq!(operations(&moved)[0]["value"], 8443);
        // As it is after that, were the record lost.
        let ports = json!([{ "port": 81, "targetPort": 8443 }]);
        assert!(
            patch(&annotated(&said, &ports), &[], &[])
                .unwrap()
                .changes
                .is_empty()
        );
    }

    #[test]
    fn an_annotation_that_cannot_be_followed_is_a_mistake() {
        let ports = json!([{ "port": 80, "targetPort": 8080 }]);
        let said = json!({ "portcullis.dev/target-port": "3000" });
        assert!(
            mistakes(&annotated(&said, &ports))
                .contains("no port of the Service leads to 3000, but to: 8080")
        );
        let mut nowhere = annotated(&said, &ports);
        nowhere["spec"]["selector"] = Value::Null;
        assert!(mistakes(&nowhere).contains("selects no pods"));
        let said =
            json!({ "portcullis.dev/target-port": "8080", "portcullis.dev/https-port": "9443" });
        assert!(
            mistakes(&annotated(&said, &ports))
                .contains("the sidecar of Deployment web is on port 8443")
        );
    }

    #[test]
    fn all_wrong_annotations_are_told_with_their_places() {
        let said = json!({
            "portcullis.dev/inject": "yes",
            "portcullis.dev/https-port": "443",
            "portcullis.dev/target-port": 8080,
            "portcullis.dev/target-prot": "8080",
            "portcullis.dev/tls-secret": "web-tls",
            "example.com/anything": "goes",
        });
        let mistakes = mistakes(&annotated(&said, &json!([])));
        assert_eq!(mistakes.lines().count(), 5);
        for part in [
            "[portcullis.dev/inject]: \"yes\" is neither enabled nor disabled",
            "\"443\" is not a port from 1024 to 65535",
            "put it into quotes",
            "did you mean portcullis.dev/target-port?",
            "belongs to the pod template",
        ] {
            assert!(mistakes.contains(part), "{part} is not in {mistakes}");
        }
        let alone = annotated(&json!({ "portcullis.dev/https-port": "9443" }), &json!([]));
        assert!(super::tests::mistakes(&alone).contains("it needs portcullis.dev/target-port"));
    }

    #[test]
    fn what_tells_a_load_balancer_or_prometheus_to_speak_plain_http_is_told() {
        let said = json!({
            "service.beta.kubernetes.io/aws-load-balancer-healthcheck-protocol": "HTTP",
            "service.beta.kubernetes.io/aws-load-balancer-ssl-cert": "arn:aws:acm:eu-central-1:1:certificate/1",
            "prometheus.io/scrape": "true",
            "cloud.google.com/app-protocols": "{\"http\":\"HTTP\"}",
            "example.com/owner": "http",
        });
        let moved = done(&annotated(
            &said,
            &json!([{ "port": 80, "targetPort": 8080 }]),
        ));
        assert_eq!(moved.notes.len(), 5);
        assert!(notes(&moved).contains("backend-protocol: ssl"));
    }

    /// Any JSON, of words that the code looks for.
    pub(crate) fn anything() -> impl Strategy<Value = Value> {
        let words = || {
            prop::sample::select(vec![
                "metadata",
                "annotations",
                "labels",
                "namespace",
                "name",
                "spec",
                "selector",
                "ports",
                "port",
                "targetPort",
                "appProtocol",
                "protocol",
                "TCP",
                "http",
                "app",
                "web",
                "kind",
                "apiVersion",
                "podSelector",
                "matchLabels",
                "matchExpressions",
                "key",
                "operator",
                "values",
                "In",
                "ingress",
                "egress",
                "from",
                "to",
                "endPort",
                "rules",
                "paths",
                "backend",
                "service",
                "number",
                "backendRefs",
                "podMetricsEndpoints",
                "endpoints",
                "routes",
                "services",
                "NetworkPolicy",
                "Ingress",
                "HTTPRoute",
                "PodMonitor",
                "ServiceMonitor",
                "HorizontalPodAutoscaler",
                "portcullis.dev/target-port",
                "portcullis.dev/inject",
                "8080",
                "",
            ])
        };
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::sample::select(vec![80, 8080, 8443]).prop_map(Value::from),
            words().prop_map(Value::from),
        ];
        leaf.prop_recursive(8, 96, 6, move |inner| {
            let key = words().prop_map(str::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_that_is_called_a_service_panics(
            metadata in anything(), spec in anything(), ports in anything(), whole in anything(),
        ) {
            let service = json!({ "metadata": metadata, "spec": spec });
            let _ = patch(&service, &[web()], &[]);
            let _ = patch(&whole, &[web()], &[Bare::default()]);
            let mut shaped = super::tests::service(&json!([ports, { "port": ports }, { "port": 80, "targetPort": ports }]));
            let _ = patch(&shaped, &[web()], &[]);
            let _ = public_port(&shaped, &web());
            shaped["spec"]["selector"] = ports.clone();
            shaped["metadata"]["annotations"] = ports;
            let _ = patch(&shaped, &[web()], &[]);
        }

        #[test]
        fn once_is_enough(
            ports in prop::collection::vec((1_u16..100, prop::sample::select(vec![8080, 8443, 9100, 80])), 0..4),
        ) {
            let ports: Vec<_> = ports.iter().map(|(port, target)| json!({ "port": port, "targetPort": target })).collect();
            let mut service = service(&json!(ports));
            for change in done(&service).changes {
                *service.pointer_mut(&change.at.pointer()).unwrap() = change.value;
            }
            prop_assert!(done(&service).changes.is_empty());
        }
    }
}
