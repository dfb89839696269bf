//! Monitors of the Prometheus operator that scrape the app.

use serde_json::Value;

use super::super::change::Note;
use super::super::service::{Labels, MovedPort, MovedService, Protected, namespace_of};
use super::{items, note, port_of, selectors, spec};

pub(super) fn of_pods(monitor: &Value, protected: &[Protected]) -> Vec<Note> {
    let endpoints = |pods| {
        let all = items(
            &monitor["spec"]["podMetricsEndpoints"],
            spec().to("podMetricsEndpoints"),
        );
        all.filter(move |(_, endpoint)| scrapes(endpoint, pods))
            .map(move |(at, _)| note(at, past(&pods.who, &pods.port.to_string(), pods.https)))
    };
    let protected = protected.iter();
    let selected =
        protected.filter(|pods| selects(monitor, &pods.labels, pods.namespace.as_deref()));
    selected.flat_map(endpoints).collect()
}

pub(super) fn of_services(monitor: &Value, moved: &[MovedService]) -> Vec<Note> {
    let endpoints = |service| {
        let all = items(&monitor["spec"]["endpoints"], spec().to("endpoints"));
        all.filter_map(move |(at, endpoint)| Some(note(at, over_tls(endpoint, service)?)))
    };
    let moved = moved.iter();
    let selected =
        moved.filter(|service| selects(monitor, &service.labels, service.namespace.as_deref()));
    selected.flat_map(endpoints).collect()
}

/// Whether a monitor is about what has these labels in this namespace.
fn selects(monitor: &Value, labels: &Labels, namespace: Option<&str>) -> bool {
    let namespaces = &monitor["spec"]["namespaceSelector"];
    let is_there = match namespaces["matchNames"].as_array() {
        _ if namespaces["any"] == true => true,
        Some(names) if !names.is_empty() => {
            namespace.is_some_and(|namespace| names.iter().any(|name| name == namespace))
        }
        _ => namespace_of(monitor).as_deref() == namespace,
    };
    is_there && selectors::matches(&monitor["spec"]["selector"], labels)
}

fn scrapes(endpoint: &Value, pods: &Protected) -> bool {
    let is_name = |value: &Value| {
        let name = value.as_str();
        name.is_some_and(|name| pods.names.iter().any(|own| own == name))
    };
    let is_number = |value: &Value| port_of(value) == Some(pods.port);
    let target = &endpoint["targetPort"];
    is_name(&endpoint["port"])
        || is_number(&endpoint["portNumber"])
        || is_name(target)
        || is_number(target)
}

fn over_tls(endpoint: &Value, service: &MovedService) -> Option<String> {
    let target = match &endpoint["targetPort"] {
        Value::String(name) => Some(name.clone()),
        number => port_of(number).map(|number| number.to_string()),
    };
    let is_target = |port: &&MovedPort| target.as_ref() == Some(&port.was);
    if let Some(port) = service.ports.iter().find(is_target) {
        return Some(past(
            &format!("Service {}", service.name),
            &port.was,
            port.https,
        ));
    }
    let name = endpoint["port"].as_str()?;
    let mut ports = service.ports.iter();
    let is_moved = ports.any(|port| port.name.as_deref() == Some(name));
    (is_moved && endpoint["scheme"] != "https" && endpoint["scheme"] != "HTTPS").then(|| {
        format!(
            "port {name} of Service {} speaks TLS now: this endpoint needs `scheme: https`, and in `tlsConfig` the CA \
             and the serverName that the certificate is for",
            service.name
        )
    })
}

fn past(who: &str, port: &str, https: u16) -> String {
    format!(
        "it scrapes the plain port {port} of {who}, past the sidecar, which counts as a bypass and fails once the app is \
         bound to the loopback: scrape port {https} with `scheme: https`"
    )
}
