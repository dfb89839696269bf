//! The app's probes: those that ask what the sidecar can ask for them go through it, so that they still have an answer when
//! the app listens on the loopback only.

use serde_json::Value;

use super::place;
use super::shape::Container;
use crate::config::path_and_query;
use crate::kubernetes::change::{Change, Note};
use crate::kubernetes::settings::{Protocol, Settings};

/// What becomes of them.
#[derive(Debug)]
pub(super) struct Probes {
    pub(super) changes: Vec<Change>,
    pub(super) notes: Vec<Note>,
    /// What `/app` of the probe plane asks the app.
    pub(super) health: Option<String>,
}

/// Points those at the sidecar that can be.
pub(super) fn moved(app: &Container<'_>, port: u16, settings: &Settings) -> Probes {
    let asked = KINDS.map(|kind| asks(app, kind, port, settings.target_protocol));
    let health = {
        // In the order of what the path says about the app's health.
        let [startup, liveness, readiness] = &asked;
        let mut paths = [liveness, startup, readiness].into_iter().flatten();
        paths.find_map(|asked| asked.as_ref().ok().cloned())
    };
    let mut probes = Probes {
        changes: Vec::new(),
        notes: Vec::new(),
        health,
    };
    for (kind, asked) in KINDS.into_iter().zip(asked) {
        if let Some(asked) = asked {
            probes.one(app, kind, asked, settings.probe_port);
        }
    }
    probes
}

/// Which path the probe asks for, or why it cannot go through the sidecar. None where there is no probe.
type Asked = Option<Result<String, String>>;

impl Probes {
    fn one(&mut self, app: &Container<'_>, kind: &str, asked: Result<String, String>, probe: u16) {
        let why = match (asked, &self.health) {
            (Ok(path), Some(health)) if path == *health => return self.point(app, kind, probe),
            (Ok(path), health) => {
                let health = health.as_deref().unwrap_or_default();
                format!(
                    "it asks for {path}, and the sidecar asks the app for one path only, {health}"
                )
            }
            (Err(why), _) => why,
        };
        self.notes.push(Note {
            at: app.at.to(kind),
            text: format!("left as it is: {why}"),
        });
    }

    fn point(&mut self, app: &Container<'_>, kind: &str, probe: u16) {
        let at = app.at.to(kind).to("httpGet");
        if let Some(get) = app.value.get(kind).and_then(|probe| probe.get("httpGet")) {
            self.changes.push(place::key(get, &at, "path", "/app"));
            self.changes.push(place::key(get, &at, "port", probe));
        }
    }
}

fn asks(app: &Container<'_>, kind: &str, port: u16, protocol: Protocol) -> Asked {
    let probe = app.value.get(kind).filter(|probe| !probe.is_null())?;
    let has = |handler: &&str| probe.get(*handler).is_some_and(|value| !value.is_null());
    Some(match HANDLERS.iter().find(|(handler, _)| has(handler)) {
        Some((_, why)) => Err((*why).to_owned()),
        None => match probe.get("httpGet").filter(|get| !get.is_null()) {
            Some(_) if probe.get("timeoutSeconds").and_then(Value::as_u64) > Some(LIMIT) => Err(
                format!("it gives the app more than the {LIMIT} s for which the sidecar waits"),
            ),
            Some(get) => path(app, get, port, protocol),
            None => Err("it does not say what it asks".to_owned()),
        },
    })
}

fn path(app: &Container<'_>, get: &Value, port: u16, protocol: Protocol) -> Result<String, String> {
    if number(app, get) != Some(port) {
        return Err("it asks another port than the app's".to_owned());
    }
    if !matches!(text(get, "scheme"), "" | "HTTP") {
        return Err(
            "it asks over HTTPS, and the sidecar asks in plain HTTP; does the app speak TLS on its port already?"
                .to_owned(),
        );
    }
    if protocol == Protocol::H2c {
        return Err("it asks in HTTP/1.1, and the sidecar asks in HTTP/2".to_owned());
    }
    if !text(get, "host").is_empty() {
        return Err("it asks another host than the pod".to_owned());
    }
    if get
        .get("httpHeaders")
        .and_then(Value::as_array)
        .is_some_and(|fields| !fields.is_empty())
    {
        return Err("it sends headers of its own, and the sidecar would not".to_owned());
    }
    // The kubelet takes it for a path from the root, too.
    let path = text(get, "path");
    let root = if path.starts_with('/') { "" } else { "/" };
    path_and_query(&format!("{root}{path}"))
}

fn number(app: &Container<'_>, get: &Value) -> Option<u16> {
    match get.get("port")? {
        Value::String(name) => app.port_named(name),
        port => u16::try_from(port.as_u64()?).ok(),
    }
}

fn text<'a>(get: &'a Value, key: &str) -> &'a str {
    get.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Of the probe plane, in seconds.
const LIMIT: u64 = 5;
const KINDS: [&str; 3] = ["startupProbe", "livenessProbe", "readinessProbe"];

/// Those that are not for HTTP.
const HANDLERS: [(&str, &str); 3] = [
    (
        "exec",
        "it runs a program in the app's container, and asks no port",
    ),
    (
        "grpc",
        "it speaks gRPC, which the sidecar's probe plane does not pass on",
    ),
    (
        "tcpSocket",
        "it only connects, and a connection to the sidecar would say nothing about the app",
    ),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::shape::Pod;
    use super::*;

    fn moved_in(probes: &Value, settings: &Settings) -> (Vec<Value>, Vec<String>, Option<String>) {
        let mut app = json!({ "name": "app", "ports": [
            { "name": "http", "containerPort": 8080 },
            { "name": "admin", "containerPort": 8081 },
        ] });
        for (kind, probe) in probes.as_object().unwrap() {
            app[kind] = probe.clone();
        }
        let template = json!({ "spec": { "containers": [app] } });
        let pod = Pod::read(&template).unwrap();
        let probes = moved(&pod.containers[0], 8080, settings);
        let told = |note: &Note| format!("{}: {}", note.at, note.text);
        (
            probes.changes.iter().map(Change::operation).collect(),
            probes.notes.iter().map(told).collect(),
            probes.health,
        )
    }

    fn left(get: &Value) -> String {
        let probe = json!({ "readinessProbe": { "httpGet": get } });
        let (changes, notes, health) = moved_in(&probe, &Settings::default());
        assert_eq!((changes, health), (Vec::new(), None));
        notes.concat()
    }

    #[test]
    fn probes_of_the_same_path_go_through_the_sidecar() {
        let probes = json!({
            "startupProbe": { "httpGet": { "path": "/healthz", "port": "http", "scheme": "HTTP" }, "periodSeconds": 2 },
            "livenessProbe": { "httpGet": { "path": "healthz", "port": 8080, "httpHeaders": [], "host": "" } },
            "readinessProbe": null,
        });
        let replace = |place: &str, value: Value| {
            let path = format!("/spec/containers/0/{place}");
            json!({ "op": "replace", "path": path, "value": value })
        };
        let expected = vec![
            replace("startupProbe/httpGet/path", json!("/app")),
            replace("startupProbe/httpGet/port", json!(9902)),
            replace("livenessProbe/httpGet/path", json!("/app")),
            replace("livenessProbe/httpGet/port", json!(9902)),
        ];
        let health = Some("/healthz".to_owned());
        assert_eq!(
            moved_in(&probes, &Settings::default()),
            (expected, Vec::new(), health)
        );
    }

    #[test]
    fn a_probe_without_a_path_asks_for_the_root() {
        let probes = json!({ "livenessProbe": { "httpGet": { "port": 8080 } } });
        let (changes, _, health) = moved_in(&probes, &Settings::default());
        assert_eq!(health.as_deref(), Some("/"));
        let added = json!({ "op": "add", "path": "/spec/containers/0/livenessProbe/httpGet/path", "value": "/app" });
        assert_eq!(changes[0], added);
    }

    #[test]
    fn the_path_of_the_liveness_probe_is_the_health_path() {
        let probes = json!({
            "startupProbe": { "httpGet": { "path": "/started", "port": 8080 } },
            "livenessProbe": { "httpGet": { "path": "/alive", "port": 8080 } },
            "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 } },
        });
        let (changes, notes, health) = moved_in(&probes, &Settings::default());
        assert_eq!((changes.len(), notes.len()), (2, 2));
        assert_eq!(health.as_deref(), Some("/alive"));
        assert_eq!(
            notes[1],
            "spec.containers[0].readinessProbe: left as it is: it asks for /ready, and the sidecar asks the app for one path only, /alive"
        );
    }

    #[test]
    fn the_startup_probe_says_the_health_path_where_the_liveness_probe_cannot() {
        let probes = json!({
            "startupProbe": { "httpGet": { "path": "/started", "port": 8080 } },
            "livenessProbe": { "tcpSocket": { "port": 8080 } },
            "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 } },
        });
        let (changes, notes, health) = moved_in(&probes, &Settings::default());
        assert_eq!((changes.len(), notes.len()), (2, 2));
        assert_eq!(health.as_deref(), Some("/started"));
    }

    #[test]
    fn a_probe_that_asks_something_else_is_left_with_the_reason() {
        for (get, why) in [
            (json!({ "port": 8081 }), "another port"),
            (json!({ "port": "admin" }), "another port"),
            (json!({ "port": "nobody" }), "another port"),
            (json!({}), "another port"),
            (json!({ "port": 8080, "scheme": "HTTPS" }), "over HTTPS"),
            (
                json!({ "port": 8080, "host": "example.com" }),
                "another host",
            ),
            (
                json!({ "port": 8080, "httpHeaders": [{ "name": "a", "value": "b" }] }),
                "headers",
            ),
            (json!({ "port": 8080, "path": "/a#b" }), "not a path"),
        ] {
            let told = left(&get);
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn a_probe_of_another_kind_is_left_with_the_reason() {
        for (probe, why) in [
            (json!({ "tcpSocket": { "port": 8080 } }), "only connects"),
            (json!({ "exec": { "command": ["true"] } }), "runs a program"),
            (json!({ "grpc": { "port": 8080 } }), "speaks gRPC"),
            (json!({}), "does not say what it asks"),
        ] {
            let (changes, notes, _) =
                moved_in(&json!({ "livenessProbe": probe }), &Settings::default());
            assert!(changes.is_empty());
            assert!(notes.concat().contains(why), "{notes:?}");
        }
    }

    #[test]
    fn probes_of_an_app_that_speaks_http_2_are_left() {
        let settings = Settings {
            target_protocol: Protocol::H2c,
            ..Settings::default()
        };
        let probes = json!({ "livenessProbe": { "httpGet": { "port": 8080 } } });
        let (changes, notes, health) = moved_in(&probes, &settings);
        assert_eq!((changes.len(), health), (0, None));
        assert!(notes[0].contains("it asks in HTTP/1.1"));
    }
}
