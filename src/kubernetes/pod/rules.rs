//! What injection cannot fix: it says so, and what to do instead.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Owner;
use super::shape::{Container, Pod};
use super::volumes::VOLUMES;
use crate::kubernetes::change::{Mistake, Path};
use crate::kubernetes::settings::{INJECT, Mode, PREFIX, Settings, how};

/// All that speaks against a sidecar in this pod.
pub(super) fn broken(pod: &Pod<'_>, owner: &Owner, settings: &Settings) -> Vec<Mistake> {
    let rules = [
        host_network(pod),
        windows(pod),
        endless(pod, owner, settings),
    ];
    rules
        .into_iter()
        .flatten()
        .chain(ports(pod, settings))
        .chain(volumes(pod))
        .collect()
}

fn host_network(pod: &Pod<'_>) -> Option<Mistake> {
    pod.is_on_host_network.then(|| Mistake {
        at: spec().to("hostNetwork"),
        text: format!(
            "the pod's ports are the node's: the sidecar's would be too, and its admin plane would be open to all of the node; take hostNetwork away, or leave the pod alone with {}",
            left_alone()
        ),
    })
}

fn windows(pod: &Pod<'_>) -> Option<Mistake> {
    let os = |pointer| pod.spec.pointer(pointer).and_then(Value::as_str) == Some("windows");
    let at = if os("/os/name") {
        spec().to("os").to("name")
    } else if os("/nodeSelector/kubernetes.io~1os") {
        spec().to("nodeSelector").to("kubernetes.io/os")
    } else {
        return None;
    };
    let left = left_alone();
    let text = format!("the sidecar is for Linux; leave the pod alone with {left}");
    Some(Mistake { at, text })
}

/// A pod that is to end does so when all its containers have, but for native sidecars.
fn endless(pod: &Pod<'_>, owner: &Owner, settings: &Settings) -> Option<Mistake> {
    let policy = pod.spec.get("restartPolicy").and_then(Value::as_str);
    let ends = owner.is_job || matches!(policy, Some("Never" | "OnFailure"));
    (settings.mode == Mode::Classic && ends).then(|| Mistake {
        at: spec(),
        text: format!(
            "the pod would never be done: it ends by itself, and a classic sidecar does not; set {} to native",
            how("mode")
        ),
    })
}

/// All containers share the pod's network, so each port has one listener.
fn ports(pod: &Pod<'_>, settings: &Settings) -> Vec<Mistake> {
    let mut told = BTreeSet::new();
    let mut mistakes = Vec::new();
    for container in pod.all() {
        for port in container.tcp_ports() {
            let own = settings.own_ports();
            let taken = own.iter().find(|(_, own)| *own == port.number);
            if let Some((name, number)) = taken
                && told.insert((container.name, number.to_owned()))
            {
                mistakes.push(Mistake {
                    at: port.at.clone(),
                    text: clash(container, name, *number),
                });
            }
        }
    }
    mistakes
}

fn clash(container: &Container<'_>, name: &str, number: u16) -> String {
    let container = container.name;
    format!(
        "container {container} has port {number}, and the sidecar would listen there: give it another by {}",
        how(name)
    )
}

/// A port that no container says it has can still be the app's.
pub(super) fn target(pod: &Pod<'_>, port: u16, settings: &Settings) -> Option<Mistake> {
    let own = settings.own_ports();
    let (name, _) = own.iter().find(|(_, own)| *own == port)?;
    if pod.all().any(|container| container.has_port(port)) {
        return None;
    }
    let text = format!(
        "the app's port is {port}, and the sidecar would listen there: give it another by {}",
        how(name)
    );
    let at = Path::default();
    Some(Mistake { at, text })
}

fn volumes(pod: &Pod<'_>) -> Vec<Mistake> {
    let there = pod.spec.get("volumes").and_then(Value::as_array);
    let there = there.into_iter().flatten().enumerate();
    there
        .filter_map(|(item, volume)| {
            let name = volume.get("name")?.as_str()?;
            VOLUMES.contains(&name).then(|| Mistake {
                at: spec().to("volumes").to(item).to("name"),
                text: format!("{name} is what the sidecar's own volume is called: rename this one"),
            })
        })
        .collect()
}

fn left_alone() -> String {
    format!("the annotation {PREFIX}{INJECT}: disabled of the pod template")
}

fn spec() -> Path {
    Path::default().to("spec")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(mut spec: Value, is_job: bool, settings: &Settings) -> Vec<String> {
        if spec.get("containers").is_none() {
            spec["containers"] = json!([{ "name": "app" }]);
        }
        let template = json!({ "spec": spec });
        let owner = Owner { name: None, is_job };
        let mistakes = broken(&Pod::read(&template).unwrap(), &owner, settings);
        let told = |mistake: &Mistake| format!("{}: {}", mistake.at, mistake.text);
        mistakes.iter().map(told).collect()
    }

    #[test]
    fn a_pod_on_the_nodes_network_is_refused_with_a_way_out() {
        let told = told(json!({ "hostNetwork": true }), false, &Settings::default());
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("spec.hostNetwork: the pod's ports are the node's"));
        assert!(told[0].ends_with("portcullis.dev/inject: disabled of the pod template"));
    }

    #[test]
    fn a_pod_for_windows_is_refused() {
        let told = told(
            json!({ "os": { "name": "windows" } }),
            false,
            &Settings::default(),
        );
        assert!(told[0].starts_with("spec.os.name: the sidecar is for Linux"));
    }

    #[test]
    fn a_classic_sidecar_would_keep_a_job_from_its_end() {
        let classic = Settings {
            mode: Mode::Classic,
            ..Settings::default()
        };
        assert_eq!(told(json!({}), true, &classic).len(), 1);
        assert_eq!(
            told(json!({ "restartPolicy": "Never" }), false, &classic).len(),
            1
        );
        assert!(told(json!({ "restartPolicy": "Always" }), false, &classic).is_empty());
        assert!(told(json!({}), true, &Settings::default()).is_empty());
    }

    #[test]
    fn a_port_of_the_sidecar_that_a_container_has_is_told_with_what_to_set() {
        let spec = json!({ "containers": [
            { "name": "app", "ports": [
                { "containerPort": 8443 },
                { "containerPort": 9901, "protocol": "UDP" },
            ] },
            { "name": "metrics", "ports": [{ "containerPort": 9902 }] },
        ] });
        let expected = [
            "spec.containers[0].ports[0]: container app has port 8443, and the sidecar would listen there: give it another by the annotation portcullis.dev/https-port of the pod template, or --https-port",
            "spec.containers[1].ports[0]: container metrics has port 9902, and the sidecar would listen there: give it another by the annotation portcullis.dev/probe-port of the pod template, or --probe-port",
        ];
        assert_eq!(told(spec, false, &Settings::default()), expected);
    }

    #[test]
    fn a_target_that_the_sidecar_would_listen_on_is_told_once() {
        let containers =
            |port: u16| json!([{ "name": "app", "ports": [{ "containerPort": port }] }]);
        let is_told = |declared: u16, port: u16| {
            let template = json!({ "spec": { "containers": containers(declared) } });
            target(&Pod::read(&template).unwrap(), port, &Settings::default()).is_some()
        };
        assert!(is_told(80, 9901));
        assert!(!is_told(9901, 9901));
        assert!(!is_told(80, 8080));
    }

    #[test]
    fn a_volume_with_the_name_of_ours_is_in_the_way() {
        let spec = json!({ "volumes": [{ "name": "data" }, { "name": "portcullis-tls" }] });
        let told = told(spec, false, &Settings::default());
        assert_eq!(
            told,
            [
                "spec.volumes[1].name: portcullis-tls is what the sidecar's own volume is called: rename this one"
            ]
        );
    }
}
