//! Network policies: whether the sidecar's port is let in where the app's is, and whether the app can be reached past it.

use serde_json::Value;

use super::super::change::{Note, Path};
use super::super::service::{Protected, namespace_of};
use super::{items, note, port_of, selectors, spec};

pub(super) fn notes(policy: &Value, protected: &[Protected]) -> Vec<Note> {
    let namespace = namespace_of(policy);
    let spec_of = &policy["spec"];
    let mut notes = Vec::new();
    for pods in protected {
        let is_here = namespace == pods.namespace;
        if is_here
            && rules(spec_of, "Ingress")
            && selectors::matches(&spec_of["podSelector"], &pods.labels)
        {
            let rules = items(&spec_of["ingress"], spec().to("ingress"));
            notes.extend(rules.filter_map(|(at, rule)| incoming(&at, rule, pods)));
        }
        if rules(spec_of, "Egress") {
            let rules = items(&spec_of["egress"], spec().to("egress"));
            notes.extend(rules.filter_map(|(at, rule)| outgoing(&at, rule, pods, is_here)));
        }
    }
    notes
}

/// Whether the policy is about this direction. One that does not say is about what comes in, and about what goes out only
/// if it has rules for that.
fn rules(policy: &Value, direction: &str) -> bool {
    match policy["policyTypes"].as_array() {
        Some(types) if !types.is_empty() => types.iter().any(|kind| kind == direction),
        _ => {
            direction == "Ingress"
                || policy["egress"]
                    .as_array()
                    .is_some_and(|rules| !rules.is_empty())
        }
    }
}

/// A rule that lets the app's port in says who its clients are, so it has to let the sidecar's port in instead. A rule that
/// lets in neither is about something else, and so is a policy that forbids everything: policies add up.
fn incoming(at: &Path, rule: &Value, pods: &Protected) -> Option<Note> {
    let Protected {
        who, port, https, ..
    } = pods;
    let text = match (lets(rule, pods).app, lets(rule, pods).sidecar) {
        (false, _) => return None,
        (true, false) => format!(
            "it lets clients in to port {port} of {who}, but not to the sidecar's, where they come now: put \
             `- port: {https}` in the place of {port}"
        ),
        (true, true) => format!(
            "it lets clients in to port {port} of {who}, too, past the sidecar: let them in to {https} only, and to \
             the pod's other ports by name or number where they are used"
        ),
    };
    Some(note(at.to("ports"), text))
}

/// A rule that lets its pods out to the app's port is about clients of the app.
fn outgoing(at: &Path, rule: &Value, pods: &Protected, is_here: bool) -> Option<Note> {
    let let_out = lets(rule, pods);
    let mut peers = rule["to"].as_array().into_iter().flatten();
    let is_meant = peers.any(|peer| is_peer(peer, pods, is_here));
    (is_meant && let_out.app && !let_out.sidecar).then(|| {
        let Protected { who, port, https, .. } = pods;
        note(
            at.to("ports"),
            format!(
                "it lets clients out to port {port} of {who}, but not to the sidecar's, which the Service leads to \
                 now: put `- port: {https}` in the place of {port}"
            ),
        )
    })
}

/// Whether a peer selects these pods by their labels. Which labels another namespace has is not known here.
fn is_peer(peer: &Value, pods: &Protected, is_here: bool) -> bool {
    let selector = &peer["podSelector"];
    let is_near = is_here || !peer["namespaceSelector"].is_null();
    selector.is_object() && is_near && selectors::matches(selector, &pods.labels)
}

/// Which of the two ports a rule lets through.
struct Let {
    app: bool,
    sidecar: bool,
}

fn lets(rule: &Value, pods: &Protected) -> Let {
    let ports = match &rule["ports"] {
        Value::Null => &[][..],
        Value::Array(ports) => ports,
        // Not a rule that there could be.
        _ => {
            return Let {
                app: false,
                sidecar: false,
            };
        }
    };
    let names: Vec<&str> = pods.names.iter().map(String::as_str).collect();
    let any = |port: u16, names: &[&str]| {
        ports.is_empty() || ports.iter().any(|entry| covers(entry, port, names))
    };
    Let {
        app: any(pods.port, &names),
        sidecar: any(pods.https, &["https"]),
    }
}

fn covers(entry: &Value, port: u16, names: &[&str]) -> bool {
    if !matches!(entry["protocol"].as_str(), None | Some("TCP")) {
        return false;
    }
    match &entry["port"] {
        Value::Null => entry.is_object(),
        Value::String(name) => names.contains(&&**name),
        number => port_of(number).is_some_and(|first| {
            let last = port_of(&entry["endPort"]).unwrap_or(first);
            (first..=last).contains(&port)
        }),
    }
}
