//! What to know about a Service that was moved, or was not.

use serde_json::Value;

use super::super::change::Path;
use super::ports::{self, Port};
use super::{Bare, Moved, Plan, Protected, annotations};
use super::{is_headless, namespace_of, reaches, selects};
use crate::kubernetes::settings::{self, INJECT};

fn selector() -> Path {
    Path::default().to("spec").to("selector")
}

/// Of a Service that was told to be left alone.
pub(super) fn disabled(service: &Value, protected: &[Protected], moved: &mut Moved) {
    let all = protected.iter().filter(|pods| reaches(service, pods));
    let all: Vec<_> = all.collect();
    for port in ports::of(service) {
        let Some(pods) = all.iter().find(|pods| pods.serves(&port.target)) else {
            continue;
        };
        let text = format!(
            "left, as the annotation says: port {} leads to the plain port {} of {}, past its sidecar",
            port.number, pods.port, pods.who
        );
        moved.note(settings::annotation(INJECT), text);
    }
}

/// Of pods that it may select: which namespace is meant where none is said is known at `kubectl apply` only.
pub(super) fn elsewhere(service: &Value, protected: &[Protected], moved: &mut Moved) {
    let here = namespace_of(service);
    let is_unclear = |pods: &&Protected| {
        here != pods.namespace
            && (here.is_none() || pods.namespace.is_none())
            && selects(service, &pods.labels)
            && ports::of(service).any(|port| pods.serves(&port.target))
    };
    for pods in protected.iter().filter(is_unclear) {
        let name = |namespace: &Option<String>| match namespace {
            Some(name) => format!("namespace {name}"),
            None => "no namespace".to_owned(),
        };
        let text = format!(
            "left, because it says {}, and {} says {}: if it is the same, say so in both",
            name(&here),
            pods.who,
            name(&pods.namespace)
        );
        moved.note(selector(), text);
    }
}

/// Of a port that leads to another port of the pod.
pub(super) fn plain(port: &Port<'_>, all: &[&Protected], moved: &mut Moved) {
    if let Some(pods) = all.iter().find(|pods| pods.exposes(&port.target)) {
        let text = format!(
            "left: it leads to port {} of {}, which is not the app's port {}, and which the sidecar is not in front of",
            port.target, pods.who, pods.port
        );
        moved.note(port.at(), text);
    }
}

/// Of a port that leads to the app in some of the pods.
pub(super) fn mixed(port: &Port<'_>, one: &Protected, other: &Protected, moved: &mut Moved) {
    let text = format!(
        "left: {} is the app's port in {}, but not in {}, which the Service selects, too",
        port.target, one.who, other.who
    );
    moved.note(port.at(), text);
}

/// Of pods without a sidecar that it selects.
pub(super) fn bare(port: &Port<'_>, all: &[&Protected], other: &Bare, moved: &mut Moved) {
    let who = all.iter().find(|pods| pods.serves(&port.target));
    let text = format!(
        "left, because it selects {}, which has a sidecar, and {}, which has none and nothing on the sidecar's port: \
         inject both, or let the Service select only one",
        who.map_or("pods", |pods| &pods.who),
        other.who
    );
    moved.note(selector(), text);
}

/// Of what was moved, for its clients and for whoever reads its annotations.
pub(super) fn moved(service: &Value, plan: &Plan<'_>, is_seen: bool, moved: &mut Moved) {
    for (port, https) in plan {
        let text = if is_headless(service) {
            format!(
                "clients of a headless Service connect to the pods themselves: on port {https} they have TLS, on {} \
                 they still have the app in plain",
                port.target
            )
        } else {
            // Without its pods nobody knows what their sidecars were told.
            let redirected = match moved.public_port.filter(|_| is_seen) {
                Some(public) => format!("port {public}"),
                None => "the port that the setting redirect-port of the pods names, 443 by default"
                    .to_owned(),
            };
            format!(
                "clients of port {} have to speak TLS there now; plain HTTP is redirected to https at {redirected}",
                port.number
            )
        };
        moved.note(port.at(), text);
    }
    let entries = service["metadata"]["annotations"].as_object();
    for (key, value) in entries.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if let Some(text) = annotation(key, value, service) {
            moved.note(annotations::all().to(&**key), text);
        }
    }
}

/// What load balancers and Prometheus are told by annotations.
fn annotation(key: &str, value: &str, service: &Value) -> Option<String> {
    let all = &service["metadata"]["annotations"];
    let is_plain = matches!(&*value.to_ascii_lowercase(), "http" | "http2" | "h2c");
    let text = match key {
        "prometheus.io/scrape" if value == "true" && all.get("prometheus.io/scheme").is_none() => {
            "left: Prometheus finds TLS at the ports that were moved, and needs prometheus.io/scheme: https".to_owned()
        }
        "cloud.google.com/app-protocols" if !value.contains("HTTPS") && !value.contains("HTTP2") => {
            "left: the load balancer has to be told HTTPS for the ports that were moved".to_owned()
        }
        AWS_CERTIFICATE if !matches!(all[AWS_BACKEND].as_str(), Some("https" | "ssl")) => {
            format!(
                "left: the load balancer ends TLS, and has to speak TLS to the pods, too, with {AWS_BACKEND}: ssl; or \
                 leave TLS to the sidecar, and take this annotation out"
            )
        }
        _ if is_plain && (key.ends_with("protocol") || key.ends_with("scheme")) => {
            format!("left: it says {value}, and the ports that were moved speak TLS: say https there")
        }
        _ => return None,
    };
    Some(text)
}

const AWS_CERTIFICATE: &str = "service.beta.kubernetes.io/aws-load-balancer-ssl-cert";
const AWS_BACKEND: &str = "service.beta.kubernetes.io/aws-load-balancer-backend-protocol";
