//! What injection leaves as it is in a pod, and what that means.

use super::App;
use super::shape::{Container, Pod, Port};
use crate::kubernetes::change::Note;
use crate::kubernetes::settings::{Protocol, Settings, how};

/// All of it.
pub(super) fn notes(pod: &Pod<'_>, item: usize, app: &App, settings: &Settings) -> Vec<Note> {
    let container = &pod.containers[item];
    let mut notes = vec![Note {
        at: container.at.clone(),
        text: bypass(app.port),
    }];
    notes.extend(names(container, app));
    let ports = container.tcp_ports().filter(|port| port.number == app.port);
    notes.extend(
        ports
            .flat_map(|port| [host_port(port), grpc(port, settings)])
            .flatten(),
    );
    let others = pod.containers.iter().enumerate();
    notes.extend(
        others
            .filter(|(other, _)| *other != item)
            .map(|(_, other)| ends_at_once(other)),
    );
    notes
}

/// How that note begins.
pub(crate) const BYPASS: &str = "an app that listens on all addresses";

fn bypass(port: u16) -> String {
    format!(
        "{BYPASS} can still be reached past the sidecar, in plain HTTP on port {port}: bind it to the loopback (probes and scrapes that ask its own port fail then), or close the port by a NetworkPolicy; `portcullis doctor` and the metric portcullis_plaintext_bypass tell whether it is open"
    )
}

fn names(container: &Container<'_>, app: &App) -> Option<Note> {
    let names = app.names.join(", ");
    (!names.is_empty()).then(|| Note {
        at: container.at.to("ports"),
        text: format!(
            "{names} is still the app's plain port: what refers to it by that name goes past the sidecar"
        ),
    })
}

fn host_port(port: &Port<'_>) -> Option<Note> {
    port.is_of_host.then(|| Note {
        at: port.at.to("hostPort"),
        text: "this port of the node leads to the app, past the sidecar: take it away, or let nobody reach it"
            .to_owned(),
    })
}

fn grpc(port: &Port<'_>, settings: &Settings) -> Option<Note> {
    let name = port
        .name
        .filter(|_| settings.target_protocol == Protocol::Http)?;
    let is_word = |part: &str| matches!(part, "grpc" | "h2c");
    // gRPC-Web is for HTTP/1.1, too.
    let speaks = name.split('-').any(is_word) && !name.starts_with("grpc-web");
    speaks.then(|| Note {
        at: port.at.clone(),
        text: format!(
            "by its name, {name}, the app speaks HTTP/2 in clear here, and the sidecar speaks HTTP/1.1 to it: set {} to h2c if that is so",
            how("target-protocol")
        ),
    })
}

fn ends_at_once(other: &Container<'_>) -> Note {
    let name = other.name;
    Note {
        at: other.at.clone(),
        text: format!(
            "at the end of a pod, {name} is told to end at once, while the app still serves: if the app needs it, give it a preStop hook like the app's"
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stays_open_is_told() {
        let template = json!({ "spec": { "containers": [
            { "name": "app", "ports": [
                { "name": "grpc", "containerPort": 80, "hostPort": 80 },
                { "name": "metrics", "containerPort": 90, "hostPort": 90 },
            ] },
            { "name": "log" },
        ] } });
        let app = App {
            container: "app".to_owned(),
            port: 80,
            names: vec!["grpc".to_owned()],
            https: 8443,
            others: Vec::new(),
        };
        let pod = Pod::read(&template).unwrap();
        let notes = notes(&pod, 0, &app, &Settings::default());
        let starts = [
            "spec.containers[0]: an app that listens on all addresses",
            "spec.containers[0].ports: grpc is still the app's plain port",
            "spec.containers[0].ports[0].hostPort: this port of the node leads to the app",
            "spec.containers[0].ports[0]: by its name, grpc, the app speaks HTTP/2",
            "spec.containers[1]: at the end of a pod, log is told to end at once",
        ];
        assert_eq!(notes.len(), starts.len());
        for (note, start) in notes.iter().zip(starts) {
            let told = format!("{}: {}", note.at, note.text);
            assert!(told.starts_with(start), "{told}");
        }
    }
}
