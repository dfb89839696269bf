//! The sidecar's container.

use serde_json::{Map, Value, json};

use super::App;
use super::shape::{Container, Pod};
use super::volumes::{CA_FILE, client_ca, mounts};
use crate::kubernetes::settings::{ClientAuth, Mode, Protocol, Settings};

/// Its name, by which it is known again.
pub(super) const NAME: &str = "portcullis";

/// What the rest of the pod and of the input says about it.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) app: &'a App,
    /// In every record; none is the name of the pod.
    pub(super) service: Option<&'a str>,
    /// The port that clients know.
    pub(super) public_port: u16,
    /// What `/app` asks the app.
    pub(super) health: Option<&'a str>,
    /// How long the pod has for its end, in seconds.
    pub(super) grace: i64,
}

/// The container, ready to be added.
pub(super) fn container(pod: &Pod<'_>, settings: &Settings, told: &Told<'_>) -> Value {
    let probe = |path: &str| json!({ "path": path, "port": settings.probe_port });
    let mut container = json!({
        "name": NAME,
        "image": settings.image,
        "args": ["run"],
        "env": env(settings, told),
        "ports": [port(pod, "https", settings.https_port), port(pod, "probe", settings.probe_port)],
        "startupProbe": { "httpGet": probe("/livez"), "periodSeconds": 1, "failureThreshold": 60 },
        // Who is killed for not being alive has no time to drain.
        "livenessProbe": {
            "httpGet": probe("/livez"), "timeoutSeconds": 5, "terminationGracePeriodSeconds": 5,
        },
        "readinessProbe": { "httpGet": probe("/readyz"), "periodSeconds": 5, "timeoutSeconds": 5 },
        "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "128Mi" } },
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "volumeMounts": mounts(settings),
    });
    if settings.mode == Mode::Native {
        container["restartPolicy"] = json!("Always");
        // A native sidecar gets its SIGTERM when the app has gone: the drain has to begin before. A classic one gets it at
        // once, and begins by itself.
        container["lifecycle"] = json!({ "preStop": { "exec": { "command": [NAME, "drain"] } } });
    }
    container
}

/// Names of ports mean one port in a pod.
fn port(pod: &Pod<'_>, name: &str, number: u16) -> Value {
    let mut ports = pod.all().flat_map(|one: &Container<'_>| &one.ports);
    let mut port = Map::new();
    if ports.all(|one| one.name != Some(name)) {
        port.insert("name".to_owned(), name.into());
    }
    port.insert("containerPort".to_owned(), number.into());
    port.into()
}

/// What differs from the sidecar's defaults, and what is for the reader.
fn env(settings: &Settings, told: &Told<'_>) -> Vec<Value> {
    let defaults = Settings::default();
    let mut env = Env::default();
    if let Some(service) = told.service {
        env.set("SRV_NAME", service);
    }
    env.set("PORT", &settings.https_port.to_string());
    env.set("TARGET", &target(settings, told.app.port));
    if told.public_port != 443 {
        env.set("PORTCULLIS_REDIRECT_PORT", &told.public_port.to_string());
    }
    env.clients(settings);
    if settings.admin_port != defaults.admin_port {
        env.set(
            "PORTCULLIS_ADMIN",
            &format!("127.0.0.1:{}", settings.admin_port),
        );
    }
    if settings.probe_port != defaults.probe_port {
        env.set("PORTCULLIS_PROBE", &format!("[::]:{}", settings.probe_port));
    }
    if let Some(path) = told.health {
        env.set("PORTCULLIS_APP_HEALTH", path);
    }
    for (name, value, usual) in [
        (
            "PORTCULLIS_DRAIN_DELAY",
            settings.drain_delay,
            defaults.drain_delay,
        ),
        (
            "PORTCULLIS_DRAIN_TIMEOUT",
            settings.drain_timeout,
            defaults.drain_timeout,
        ),
    ] {
        if value != usual {
            env.set(name, &humantime::format_duration(value).to_string());
        }
    }
    env.set("PORTCULLIS_GRACE_PERIOD", &format!("{}s", told.grace));
    env.0
}

fn target(settings: &Settings, port: u16) -> String {
    let scheme = match settings.target_protocol {
        Protocol::Http => "http",
        Protocol::H2c => "h2c",
    };
    format!("{scheme}://localhost:{port}")
}

#[derive(Default)]
struct Env(Vec<Value>);

impl Env {
    /// Kubernetes takes `$(NAME)` for the value of a variable, and `$$` for a dollar.
    fn set(&mut self, name: &str, value: &str) {
        let value = value.replace('$', "$$");
        self.0.push(json!({ "name": name, "value": value }));
    }

    fn clients(&mut self, settings: &Settings) {
        let mode = match settings.client_auth {
            ClientAuth::Off => return,
            ClientAuth::Optional => "optional",
            ClientAuth::Required => "required",
        };
        self.set("PORTCULLIS_CLIENT_AUTH", mode);
        if client_ca(settings).is_some() {
            self.set("PORTCULLIS_CLIENT_CA", CA_FILE);
        }
        if !settings.allow_san.is_empty() {
            self.set("PORTCULLIS_ALLOW_SAN", &settings.allow_san.join(","));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of(settings: &Settings, ports: &Value, told: &Told<'_>) -> Value {
        let template = json!({ "spec": { "containers": [{ "name": "app", "ports": ports }] } });
        container(&Pod::read(&template).unwrap(), settings, told)
    }

    fn app() -> App {
        App {
            container: "app".to_owned(),
            port: 8080,
            names: Vec::new(),
            https: 8443,
            others: Vec::new(),
        }
    }

    fn told(app: &App) -> Told<'_> {
        Told {
            app,
            service: Some("shop"),
            public_port: 443,
            health: None,
            grace: 56,
        }
    }

    fn variables(container: &Value) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let env = container["env"].as_array().unwrap();
        env.iter()
            .map(|one| (text(&one["name"]), text(&one["value"])))
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn defaults_are_not_repeated_in_the_environment() {
        let container = of(&Settings::default(), &Value::Null, &told(&app()));
        let expected = [
            ("SRV_NAME", "shop"),
            ("PORT", "8443"),
            ("TARGET", "http://localhost:8080"),
            ("PORTCULLIS_GRACE_PERIOD", "56s"),
        ];
        assert_eq!(variables(&container), pairs(&expected));
        assert_eq!(
            container["ports"],
            json!([{ "name": "https", "containerPort": 8443 }, { "name": "probe", "containerPort": 9902 }])
        );
    }

    #[test]
    fn what_differs_is_in_the_environment() {
        let settings = Settings {
            target_protocol: Protocol::H2c,
            client_auth: ClientAuth::Optional,
            client_ca_secret: Some("ca".to_owned()),
            allow_san: vec!["DNS:a".to_owned(), "DNS:b".to_owned()],
            https_port: 9443,
            probe_port: 9000,
            admin_port: 9001,
            drain_delay: Duration::from_millis(1500),
            drain_timeout: Duration::ZERO,
            ..Settings::default()
        };
        let app = app();
        let told = Told {
            public_port: 80,
            health: Some("/health?$(HOME)"),
            service: None,
            ..told(&app)
        };
        let expected = [
            ("PORT", "9443"),
            ("TARGET", "h2c://localhost:8080"),
            ("PORTCULLIS_REDIRECT_PORT", "80"),
            ("PORTCULLIS_CLIENT_AUTH", "optional"),
            ("PORTCULLIS_CLIENT_CA", "/etc/portcullis/client-ca/ca.crt"),
            ("PORTCULLIS_ALLOW_SAN", "DNS:a,DNS:b"),
            ("PORTCULLIS_ADMIN", "127.0.0.1:9001"),
            ("PORTCULLIS_PROBE", "[::]:9000"),
            ("PORTCULLIS_APP_HEALTH", "/health?$$(HOME)"),
            ("PORTCULLIS_DRAIN_DELAY", "1s 500ms"),
            ("PORTCULLIS_DRAIN_TIMEOUT", "0s"),
            ("PORTCULLIS_GRACE_PERIOD", "56s"),
        ];
        assert_eq!(
            variables(&of(&settings, &Value::Null, &told)),
            pairs(&expected)
        );
    }

    #[test]
    fn a_name_of_a_port_that_is_taken_is_not_given_again() {
        let ports = json!([{ "name": "probe", "containerPort": 1 }]);
        let container = of(&Settings::default(), &ports, &told(&app()));
        assert_eq!(
            container["ports"],
            json!([{ "name": "https", "containerPort": 8443 }, { "containerPort": 9902 }])
        );
    }

    #[test]
    fn a_classic_sidecar_drains_by_its_sigterm() {
        let settings = Settings {
            mode: Mode::Classic,
            ..Settings::default()
        };
        let classic = of(&settings, &Value::Null, &told(&app()));
        assert_eq!(
            (classic.get("restartPolicy"), classic.get("lifecycle")),
            (None, None)
        );
        let native = of(&Settings::default(), &Value::Null, &told(&app()));
        assert_eq!(native["restartPolicy"], "Always");
        assert_eq!(
            native["lifecycle"]["preStop"]["exec"]["command"],
            json!(["portcullis", "drain"])
        );
    }
}
