//! Ingresses and routes: what leads to a Service that was moved has to speak TLS to it.

use serde_json::Value;

use super::super::change::{Note, Path};
use super::super::service::{MovedPort, MovedService, namespace_of};
use super::{items, note, port_of, spec};

/// A reference to a port of a Service.
struct Backend<'a> {
    at: Path,
    service: &'a str,
    namespace: Option<String>,
    port: &'a Value,
    /// What it says about how to speak to it.
    scheme: &'a Value,
}

/// One note for each Service that an object of this kind leads to.
pub(super) fn notes(group: &str, kind: &str, object: &Value, moved: &[MovedService]) -> Vec<Note> {
    let (backends, how): (_, fn(&Value) -> Option<String>) = match (group, kind) {
        ("networking.k8s.io" | "extensions", "Ingress") => (ingress(object), of_ingress),
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute") => (route(object), of_route),
        ("traefik.io" | "traefik.containo.us", "IngressRoute") => (traefik(object), of_traefik),
        ("route.openshift.io", "Route") => (openshift(object), of_openshift),
        _ => return Vec::new(),
    };
    let Some(how) = how(object) else {
        return Vec::new();
    };
    let mut notes: Vec<Note> = Vec::new();
    for service in moved {
        let is_meant = |backend: &&Backend<'_>| leads(backend, service);
        let Some(backend) = backends.iter().find(is_meant) else {
            continue;
        };
        let others = backends
            .iter()
            .any(|backend| backend.service != service.name);
        let rest = if others && kind == "Ingress" {
            "; it holds for the whole Ingress: put what leads to other Services into another one"
        } else {
            ""
        };
        let text = format!("Service {} speaks TLS now: {how}{rest}", service.name);
        notes.push(note(backend.at.clone(), text));
    }
    notes
}

fn leads(backend: &Backend<'_>, service: &MovedService) -> bool {
    let is_port = |port: &MovedPort| match backend.port {
        Value::Null => true,
        Value::String(name) => {
            port.name.as_ref() == Some(name) || *name == port.was || name.parse() == Ok(port.number)
        }
        // An OpenShift Route may name the port of the pods.
        number => port_of(number)
            .is_some_and(|number| number == port.number || number.to_string() == port.was),
    };
    backend.service == service.name
        && backend.namespace == service.namespace
        && backend.scheme != "https"
        && service.ports.iter().any(is_port)
}

/// What a backend is made of, but for the place where its name, namespace and port are written.
fn named<'a>(object: &Value, at: Path, name: &'a Value, port: &'a Value) -> Option<Backend<'a>> {
    let (service, namespace) = (name.as_str()?, namespace_of(object));
    let scheme = &Value::Null;
    Some(Backend {
        at,
        service,
        namespace,
        port,
        scheme,
    })
}

/// The lists called `inner` of the items of the list called `outer`.
fn nested<'a>(object: &'a Value, outer: &str, inner: &[&str]) -> Vec<(Path, &'a Value)> {
    let list = items(&object["spec"][outer], spec().to(outer));
    let of = |(at, item): (Path, &'a Value)| {
        let at = inner.iter().fold(at, |at, key| at.to(*key));
        let list = inner.iter().fold(item, |item, key| &item[key]);
        items(list, at).collect::<Vec<_>>()
    };
    list.flat_map(of).collect()
}

fn ingress(object: &Value) -> Vec<Backend<'_>> {
    let default = (
        spec().to("defaultBackend"),
        &object["spec"]["defaultBackend"],
    );
    let paths = nested(object, "rules", &["http", "paths"]).into_iter();
    let paths = paths.map(|(at, path)| (at.to("backend"), &path["backend"]));
    let mut found = Vec::new();
    for (at, written) in std::iter::once(default).chain(paths) {
        let service = &written["service"];
        let port = match &service["port"]["name"] {
            Value::Null => &service["port"]["number"],
            name => name,
        };
        found.extend(named(object, at.to("service"), &service["name"], port));
    }
    found
}

fn route(object: &Value) -> Vec<Backend<'_>> {
    let mut found = Vec::new();
    for (at, reference) in nested(object, "rules", &["backendRefs"]) {
        if matches!(reference["kind"].as_str(), None | Some("Service")) {
            found.extend(elsewhere(object, at, reference));
        }
    }
    found
}

fn traefik(object: &Value) -> Vec<Backend<'_>> {
    let mut found = Vec::new();
    for (at, reference) in nested(object, "routes", &["services"]) {
        if matches!(reference["kind"].as_str(), None | Some("Service")) {
            let scheme = &reference["scheme"];
            let backend = elsewhere(object, at, reference);
            found.extend(backend.map(|backend| Backend { scheme, ..backend }));
        }
    }
    found
}

/// A reference that may name a namespace of its own.
fn elsewhere<'a>(object: &Value, at: Path, reference: &'a Value) -> Option<Backend<'a>> {
    let backend = named(object, at, &reference["name"], &reference["port"])?;
    let namespace = reference["namespace"].as_str().map(str::to_owned);
    let namespace = namespace.or_else(|| backend.namespace.clone());
    Some(Backend {
        namespace,
        ..backend
    })
}

fn openshift(object: &Value) -> Vec<Backend<'_>> {
    let spec_of = &object["spec"];
    let port = &spec_of["port"]["targetPort"];
    let backend = named(object, spec().to("to"), &spec_of["to"]["name"], port);
    backend.into_iter().collect()
}

fn of_ingress(object: &Value) -> Option<String> {
    let entries = object["metadata"]["annotations"].as_object();
    let mut entries = entries.into_iter().flatten();
    let is_told = entries.any(|(key, value)| {
        let value = value.as_str().unwrap_or_default().to_ascii_lowercase();
        let is_tls = matches!(&*value, "https" | "grpcs" | "h2-ssl" | "h1-ssl" | "true");
        let names = [
            "backend-protocol",
            "secure-backends",
            "server-ssl",
            "service.serversscheme",
        ];
        is_tls && names.iter().any(|name| key.ends_with(name))
    });
    let class = match &object["spec"]["ingressClassName"] {
        Value::Null => &object["metadata"]["annotations"]["kubernetes.io/ingress.class"],
        class => class,
    };
    let class = class.as_str().unwrap_or_default();
    let how = if class.contains("nginx") {
        "set the annotation nginx.ingress.kubernetes.io/backend-protocol: HTTPS"
    } else if class.contains("alb") {
        "set the annotation alb.ingress.kubernetes.io/backend-protocol: HTTPS"
    } else if class.contains("traefik") {
        "set the annotation traefik.ingress.kubernetes.io/service.serversscheme: https on the Service, and a \
         serversTransport that trusts its CA"
    } else {
        "tell the controller to speak https to it; ingress-nginx, for one, by the annotation \
         nginx.ingress.kubernetes.io/backend-protocol: HTTPS"
    };
    (!is_told).then(|| how.to_owned())
}

fn of_route(_: &Value) -> Option<String> {
    Some("the Gateway speaks it to a Service that a BackendTLSPolicy (gateway.networking.k8s.io) is about".to_owned())
}

fn of_traefik(_: &Value) -> Option<String> {
    Some("set `scheme: https` here, and a serversTransport that trusts its CA".to_owned())
}

fn of_openshift(object: &Value) -> Option<String> {
    let termination = object["spec"]["tls"]["termination"].as_str();
    let is_told = matches!(termination, Some("reencrypt" | "passthrough"));
    (!is_told)
        .then(|| "set `tls.termination` to reencrypt, with its CA, or to passthrough".to_owned())
}
