//! Objects around the pods and Services that were changed: what they have to be told. None of them is changed.

mod backends;
mod monitors;
mod policies;
mod scaling;
mod selectors;

use serde_json::Value;

use super::change::{Note, Path};
use super::service::{MovedService, Protected};

/// What there is to know about an object that is neither a workload nor a Service.
pub(crate) fn notes(object: &Value, protected: &[Protected], moved: &[MovedService]) -> Vec<Note> {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match (group, object["kind"].as_str().unwrap_or_default()) {
        ("networking.k8s.io", "NetworkPolicy") => policies::notes(object, protected),
        ("monitoring.coreos.com", "PodMonitor") => monitors::of_pods(object, protected),
        ("monitoring.coreos.com", "ServiceMonitor") => monitors::of_services(object, moved),
        ("autoscaling", "HorizontalPodAutoscaler") => scaling::notes(object, protected),
        (group, kind) => backends::notes(group, kind, object, moved),
    }
}

fn note(at: Path, text: impl Into<String>) -> Note {
    let text = text.into();
    Note { at, text }
}

/// A place in the specification of an object.
fn spec() -> Path {
    Path::default().to("spec")
}

/// The items of a list, each with its place; none of what is not a list.
fn items(list: &Value, at: Path) -> impl Iterator<Item = (Path, &Value)> {
    let items = list.as_array().into_iter().flatten().enumerate();
    items.map(move |(number, item)| (at.to(number), item))
}

fn port_of(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|port| u16::try_from(port).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::service::tests::anything;
    use super::super::service::{MovedPort, labels};
    use super::*;

    fn web() -> Protected {
        Protected {
            who: "Deployment web".to_owned(),
            labels: labels(&json!({ "app": "web" })),
            port: 8080,
            names: vec!["http".to_owned()],
            https: 8443,
            ..Protected::default()
        }
    }

    fn service() -> MovedService {
        MovedService {
            name: "web".to_owned(),
            namespace: None,
            labels: labels(&json!({ "app": "web" })),
            ports: vec![MovedPort {
                number: 80,
                name: Some("http".to_owned()),
                was: "8080".to_owned(),
                https: 8443,
            }],
        }
    }

    fn told(version: &str, kind: &str, spec: &Value) -> String {
        said(
            &json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "x" }, "spec": spec }),
        )
    }

    fn said(object: &Value) -> String {
        let notes = notes(object, &[web()], &[service()]);
        let line = |note: &Note| format!("{}: {}\n", note.at, note.text);
        notes.iter().map(line).collect()
    }

    fn policy(selector: &Value, ingress: &Value) -> String {
        let spec = json!({ "podSelector": selector, "ingress": ingress });
        told("networking.k8s.io/v1", "NetworkPolicy", &spec)
    }

    #[test]
    fn a_policy_that_lets_in_the_apps_port_has_to_let_in_the_sidecars() {
        let web = json!({ "matchLabels": { "app": "web" } });
        for port in [
            json!({ "port": 8080 }),
            json!({ "port": "http", "protocol": "TCP" }),
            json!({ "port": 8000, "endPort": 8100 }),
        ] {
            let said = policy(
                &web,
                &json!([{ "ports": [{ "port": 53 }] }, { "ports": [port] }]),
            );
            assert!(said.starts_with(
                "spec.ingress[1].ports: it lets clients in to port 8080 of Deployment web"
            ));
            assert!(said.contains("`- port: 8443` in the place of 8080"));
            assert_eq!(said.lines().count(), 1);
        }
    }

    #[test]
    fn a_policy_that_lets_in_both_leaves_a_way_past_the_sidecar() {
        for rule in [
            json!({}),
            json!({ "ports": [] }),
            json!({ "ports": [{ "protocol": "TCP" }] }),
        ] {
            assert!(policy(&json!({}), &json!([rule])).contains("past the sidecar"));
        }
        let both = json!([{ "ports": [{ "port": 8080 }, { "port": "https" }] }]);
        assert!(policy(&json!({}), &both).contains("past the sidecar"));
    }

    #[test]
    fn a_policy_about_something_else_is_nothing_to_know() {
        let app = json!([{ "ports": [{ "port": 8080 }] }]);
        assert_eq!(policy(&json!({}), &json!([])), "");
        assert_eq!(
            policy(&json!({}), &json!([{ "ports": [{ "port": 8443 }] }])),
            ""
        );
        assert_eq!(
            policy(
                &json!({}),
                &json!([{ "ports": [{ "port": 8080, "protocol": "UDP" }] }])
            ),
            ""
        );
        assert_eq!(policy(&json!({ "matchLabels": { "app": "db" } }), &app), "");
        let spec = json!({ "podSelector": {}, "policyTypes": ["Egress"], "ingress": app });
        assert_eq!(told("networking.k8s.io/v1", "NetworkPolicy", &spec), "");
        let there = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": { "namespace": "other" }, "spec": { "podSelector": {}, "ingress": app },
        });
        assert_eq!(said(&there), "");
    }

    #[test]
    fn a_selector_is_read_with_its_expressions() {
        let app = json!([{ "ports": [{ "port": 8080 }] }]);
        let of = |operator: &str, values: Value| {
            let expression = json!({ "key": "app", "operator": operator, "values": values });
            policy(&json!({ "matchExpressions": [expression] }), &app)
        };
        for (operator, values, is_selected) in [
            ("In", json!(["db", "web"]), true),
            ("In", json!(["db"]), false),
            ("NotIn", json!(["db"]), true),
            ("NotIn", json!(["web"]), false),
            ("Exists", Value::Null, true),
            ("DoesNotExist", Value::Null, false),
            ("Like", json!(["web"]), false),
        ] {
            assert_eq!(!of(operator, values).is_empty(), is_selected, "{operator}");
        }
    }

    #[test]
    fn a_policy_of_clients_has_to_let_them_out_to_the_sidecar() {
        let egress = |ports: Value, app: &str| {
            let to = json!([{ "podSelector": { "matchLabels": { "app": app } } }]);
            let spec = json!({
                "podSelector": { "matchLabels": { "app": "shop" } }, "policyTypes": ["Egress"],
                "egress": [{ "to": to, "ports": ports }],
            });
            told("networking.k8s.io/v1", "NetworkPolicy", &spec)
        };
        let said = egress(json!([{ "port": 8080 }]), "web");
        assert!(said.starts_with("spec.egress[0].ports: it lets clients out to port 8080"));
        assert_eq!(egress(json!([{ "port": 8080 }]), "db"), "");
        assert_eq!(
            egress(json!([{ "port": 8443 }, { "port": 8080 }]), "web"),
            ""
        );
    }

    #[test]
    fn a_pod_monitor_of_the_apps_port_scrapes_past_the_sidecar() {
        let of = |endpoint: Value| {
            let spec = json!({
                "selector": { "matchLabels": { "app": "web" } },
                "podMetricsEndpoints": [{ "port": "probe" }, endpoint],
            });
            told("monitoring.coreos.com/v1", "PodMonitor", &spec)
        };
        for endpoint in [
            json!({ "port": "http" }),
            json!({ "portNumber": 8080 }),
            json!({ "targetPort": "http" }),
        ] {
            let said = of(endpoint);
            assert!(said.starts_with(
                "spec.podMetricsEndpoints[1]: it scrapes the plain port 8080 of Deployment web"
            ));
        }
        assert_eq!(of(json!({ "port": "metrics" })), "");
    }

    #[test]
    fn a_service_monitor_of_a_moved_port_needs_https() {
        let of = |endpoint: Value, namespaces: Value| {
            let spec =
                json!({ "selector": {}, "namespaceSelector": namespaces, "endpoints": [endpoint] });
            told("monitoring.coreos.com/v1", "ServiceMonitor", &spec)
        };
        let here = || json!({});
        assert!(
            of(json!({ "port": "http" }), here()).contains("`scheme: https`, and in `tlsConfig`")
        );
        assert!(
            of(
                json!({ "port": "http", "scheme": "http" }),
                json!({ "any": true })
            )
            .contains("tlsConfig")
        );
        assert!(of(json!({ "targetPort": 8080 }), here()).contains("past the sidecar"));
        assert_eq!(of(json!({ "port": "http", "scheme": "https" }), here()), "");
        assert_eq!(of(json!({ "port": "metrics" }), here()), "");
        assert_eq!(
            of(
                json!({ "port": "http" }),
                json!({ "matchNames": ["other"] })
            ),
            ""
        );
    }

    fn ingress(metadata: &Value, class: &Value, port: &Value, other: &str) -> String {
        let path = |name: &str, port: &Value| {
            let service = json!({ "name": name, "port": port });
            json!({ "path": "/", "backend": { "service": service } })
        };
        said(&json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata,
            "spec": {
                "ingressClassName": class,
                "rules": [{ "http": { "paths": [path(other, &json!({ "number": 80 })), path("web", port)] } }],
            },
        }))
    }

    #[test]
    fn an_ingress_has_to_speak_tls_to_a_moved_service() {
        let nginx = json!("nginx");
        for port in [json!({ "number": 80 }), json!({ "name": "http" })] {
            let said = ingress(&json!({}), &nginx, &port, "web-2");
            assert!(said.starts_with(
                "spec.rules[0].http.paths[1].backend.service: Service web speaks TLS now"
            ));
            assert!(said.contains(
                "nginx.ingress.kubernetes.io/backend-protocol: HTTPS; it holds for the whole Ingress"
            ));
        }
        assert!(
            !ingress(&json!({}), &nginx, &json!({ "number": 80 }), "web").contains("whole Ingress")
        );
        assert!(
            ingress(
                &json!({}),
                &json!("traefik"),
                &json!({ "number": 80 }),
                "web"
            )
            .contains("serversscheme")
        );
        assert_eq!(
            ingress(&json!({}), &nginx, &json!({ "number": 81 }), "other"),
            ""
        );
        let told =
            json!({ "annotations": { "nginx.ingress.kubernetes.io/backend-protocol": "HTTPS" } });
        assert_eq!(ingress(&told, &nginx, &json!({ "number": 80 }), "web"), "");
        let default =
            json!({ "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } } });
        assert!(told_of_ingress(&default).starts_with("spec.defaultBackend.service:"));
    }

    fn told_of_ingress(spec: &Value) -> String {
        told("networking.k8s.io/v1", "Ingress", spec)
    }

    #[test]
    fn so_has_a_route_of_any_kind() {
        let gateway = json!({ "rules": [{ "backendRefs": [{ "name": "web", "port": 80 }] }] });
        let said = told("gateway.networking.k8s.io/v1", "HTTPRoute", &gateway);
        assert!(
            said.starts_with("spec.rules[0].backendRefs[0]: ") && said.contains("BackendTLSPolicy")
        );
        let elsewhere = json!({ "rules": [{ "backendRefs": [{ "name": "web", "namespace": "b", "port": 80 }] }] });
        assert_eq!(
            told("gateway.networking.k8s.io/v1", "HTTPRoute", &elsewhere),
            ""
        );
        let traefik = json!({ "routes": [{ "services": [{ "name": "web", "port": 80 }] }] });
        assert!(told("traefik.io/v1alpha1", "IngressRoute", &traefik).contains("`scheme: https`"));
        let traefik = json!({ "routes": [{ "services": [{ "name": "web", "port": 80, "scheme": "https" }] }] });
        assert_eq!(told("traefik.io/v1alpha1", "IngressRoute", &traefik), "");
        let edge = json!({ "to": { "name": "web" }, "port": { "targetPort": 8080 }, "tls": { "termination": "edge" } });
        assert!(told("route.openshift.io/v1", "Route", &edge).contains("reencrypt"));
    }

    #[test]
    fn an_autoscaler_measures_the_sidecar_too() {
        let metric = |kind: &str| {
            let target = json!({ "averageUtilization": 80 });
            json!({ "type": kind, "resource": { "name": "cpu", "target": target } })
        };
        let spec = json!({
            "scaleTargetRef": { "kind": "Deployment", "name": "web" },
            "metrics": [metric("Pods"), metric("Resource")],
        });
        let said = told("autoscaling/v2", "HorizontalPodAutoscaler", &spec);
        assert!(said.starts_with(
            "spec.metrics[1]: the utilization is that of all containers of Deployment web"
        ));
        let other = json!({ "scaleTargetRef": { "kind": "Deployment", "name": "db" }, "metrics": [metric("Resource")] });
        assert_eq!(
            told("autoscaling/v2", "HorizontalPodAutoscaler", &other),
            ""
        );
    }

    #[test]
    fn what_is_unknown_is_nothing_to_know() {
        assert_eq!(told("v1", "ConfigMap", &json!({})), "");
        assert_eq!(
            told(
                "projectcalico.org/v3",
                "NetworkPolicy",
                &json!({ "ingress": [{}] })
            ),
            ""
        );
        assert_eq!(said(&json!(null)), "");
    }

    proptest! {
        #[test]
        fn nothing_panics_whatever_it_is_called(spec in anything(), list in anything()) {
            for (version, kind) in [
                ("networking.k8s.io/v1", "NetworkPolicy"), ("networking.k8s.io/v1", "Ingress"),
                ("monitoring.coreos.com/v1", "PodMonitor"), ("monitoring.coreos.com/v1", "ServiceMonitor"),
                ("autoscaling/v2", "HorizontalPodAutoscaler"), ("gateway.networking.k8s.io/v1", "HTTPRoute"),
                ("traefik.io/v1alpha1", "IngressRoute"), ("route.openshift.io/v1", "Route"),
            ] {
                let _ = told(version, kind, &spec);
                let key = |key: &str| json!({ key: [list, { "ports": list, "to": list, "http": { "paths": list } }] });
                for name in ["ingress", "egress", "rules", "routes", "endpoints", "podMetricsEndpoints", "metrics"] {
                    let _ = told(version, kind, &key(name));
                }
            }
            let _ = said(&spec);
        }
    }
}
