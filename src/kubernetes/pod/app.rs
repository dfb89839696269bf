//! Which container is the app's, and which of its ports.

use serde_json::Value;

use super::App;
use super::shape::{Container, Pod, Port};
use super::survey::Found;
use crate::kubernetes::change::{Mistake, Note, Path};
use crate::kubernetes::settings::{PortRef, Settings, annotation, how};

/// Finds it.
///
/// # Errors
/// Why it cannot be known, with what there is to choose from.
pub(super) fn find(template: &Value, pod: &Pod<'_>, settings: &Settings) -> Result<Found, Mistake> {
    let (item, why) = container(template, pod, settings)?;
    let container = &pod.containers[item];
    let port = port(container, settings)?;
    let note = why.map(|why| Note {
        at: container.at.clone(),
        text: format!(
            "taken for the app, with port {port}, because {why}; where that is wrong, set {}",
            how("container")
        ),
    });
    let app = App {
        container: container.name.to_owned(),
        port,
        names: names(pod, item, port),
        https: settings.https_port,
        others: others(pod, port),
    };
    Ok(Found { item, app, note })
}

/// The item of the app's container, and a word on why where others could have been meant.
fn container(
    template: &Value,
    pod: &Pod<'_>,
    settings: &Settings,
) -> Result<(usize, Option<&'static str>), Mistake> {
    if let Some(name) = &settings.container {
        return named(template, pod, name).map(|item| (item, None));
    }
    if pod.containers.len() == 1 {
        return Ok((0, None));
    }
    let default = template.pointer(DEFAULT).and_then(Value::as_str);
    if let Some(item) = default.and_then(|name| position(pod, name)) {
        return Ok((item, None));
    }
    match &settings.target_port {
        Some(wanted) => only(pod, |one| resolved(one, wanted).is_some())
            .map(|item| (item, Some("no other container has that port"))),
        None => only(pod, |one| one.tcp_ports().next().is_some())
            .map(|item| (item, Some("no other container has a port"))),
    }
    .ok_or_else(|| Mistake {
        at: Path::default().to("spec").to("containers"),
        text: format!(
            "which of the containers is the app? There are {}: set {}",
            list(pod.containers.iter().map(told)),
            how("container")
        ),
    })
}

fn named(template: &Value, pod: &Pod<'_>, name: &str) -> Result<usize, Mistake> {
    position(pod, name).ok_or_else(|| {
        let at = annotation("container");
        let at = at.of(template).map_or_else(Path::default, |_| at.clone());
        let is_init = pod.init.iter().any(|one| one.name == name);
        let why = if is_init {
            format!("container {name} is an init container, and no app")
        } else {
            format!("there is no container {name}")
        };
        let there = list(pod.containers.iter().map(told));
        let text = format!("{why}; there are {there}");
        Mistake { at, text }
    })
}

fn position(pod: &Pod<'_>, name: &str) -> Option<usize> {
    pod.containers.iter().position(|one| one.name == name)
}

fn only(pod: &Pod<'_>, fits: impl Fn(&Container<'_>) -> bool) -> Option<usize> {
    let mut fitting = (0..pod.containers.len()).filter(|item| fits(&pod.containers[*item]));
    let first = fitting.next()?;
    fitting.next().is_none().then_some(first)
}

/// The number of that port, if the container says that it has it.
fn resolved(container: &Container<'_>, wanted: &PortRef) -> Option<u16> {
    match wanted {
        PortRef::Number(number) => container.has_port(*number).then_some(*number),
        PortRef::Name(name) => container.port_named(name),
    }
}

fn port(container: &Container<'_>, settings: &Settings) -> Result<u16, Mistake> {
    let found = match &settings.target_port {
        // Ports need not be declared.
        Some(PortRef::Number(number)) => return Ok(*number),
        Some(PortRef::Name(name)) => container
            .port_named(name)
            .ok_or_else(|| format!("has no port named {name}; {}", ports(container))),
        None => best(container),
    };
    found.map_err(|why| Mistake {
        at: container.at.clone(),
        text: format!("{why}: set {}", how("target-port")),
    })
}

fn best(container: &Container<'_>) -> Result<u16, String> {
    let mut numbers: Vec<_> = container.tcp_ports().map(|port| port.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let best = match numbers[..] {
        [] => return Err("says of no port that it has it; a pod that serves nobody is left alone by the annotation portcullis.dev/inject: disabled, for another".to_owned()),
        [only] => Some(only),
        _ => ["http", "web"]
            .iter()
            .find_map(|name| container.port_named(name)),
    };
    let Some(best) = best else {
        return Err(format!(
            "has several ports, and none is named http or web; {}",
            ports(container)
        ));
    };
    let mut names = container.tcp_ports().filter(|port| port.number == best);
    let speaks_other = |port: &Port<'_>| match port.name {
        Some(name) => OTHERS.contains(&name),
        None => best == 443,
    };
    if names.all(speaks_other) {
        return Err(format!(
            "has port {best}, which is not for plain HTTP by its name or number, and the sidecar needs one that is"
        ));
    }
    Ok(best)
}

/// What its container calls the port. A Service means the first container that has a port of a name.
fn names(pod: &Pod<'_>, item: usize, port: u16) -> Vec<String> {
    let ports = pod.containers[item].tcp_ports();
    let names = ports
        .filter(|one| one.number == port)
        .filter_map(|one| one.name);
    let is_first = |name: &&str| {
        let mut before = pod.containers[..item].iter();
        before.all(|one| one.port_named(name).is_none())
    };
    names.filter(is_first).map(str::to_owned).collect()
}

fn others(pod: &Pod<'_>, port: u16) -> Vec<(u16, Option<String>)> {
    let ports = pod.running().flat_map(Container::tcp_ports);
    ports
        .filter(|one| one.number != port)
        .map(|one| (one.number, one.name.map(str::to_owned)))
        .collect()
}

fn told(container: &Container<'_>) -> String {
    match container.tcp_ports().next() {
        Some(_) => format!(
            "{} ({})",
            container.name,
            list(container.tcp_ports().map(port_told))
        ),
        None => format!("{} (no port)", container.name),
    }
}

fn ports(container: &Container<'_>) -> String {
    match container.tcp_ports().next() {
        Some(_) => format!("it has {}", list(container.tcp_ports().map(port_told))),
        None => "it has none".to_owned(),
    }
}

fn port_told(port: &Port<'_>) -> String {
    match port.name {
        Some(name) => format!("{} {name}", port.number),
        None => port.number.to_string(),
    }
}

fn list(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// What kubectl takes where nobody names a container.
const DEFAULT: &str = "/metadata/annotations/kubectl.kubernetes.io~1default-container";

/// Names of ports at which nobody speaks plain HTTP for clients.
const OTHERS: [&str; 14] = [
    "https",
    "tls",
    "metrics",
    "prometheus",
    "postgres",
    "postgresql",
    "mysql",
    "redis",
    "mongodb",
    "amqp",
    "kafka",
    "smtp",
    "ssh",
    "dns",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::settings::{Given, read};

    fn found_in(template: &Value, pairs: &[(&str, &str)]) -> Result<Found, String> {
        let mut given = Given::default();
        for (name, value) in pairs {
            given.set(name, value).unwrap();
        }
        let (settings, _) = read(template, &given);
        let found = find(template, &Pod::read(template).unwrap(), &settings);
        found.map_err(|mistake| format!("{}: {}", mistake.at, mistake.text))
    }

    fn found(containers: &Value, pairs: &[(&str, &str)]) -> Result<(String, u16), String> {
        let template = json!({ "spec": { "containers": containers } });
        let found = found_in(&template, pairs)?;
        Ok((found.app.container, found.app.port))
    }

    fn app(port: u16) -> Result<(String, u16), String> {
        Ok(("app".to_owned(), port))
    }

    #[test]
    fn the_only_port_of_the_only_container_is_the_apps() {
        let containers = json!([{ "name": "app", "ports": [
            { "containerPort": 8080, "name": "x" },
            { "containerPort": 53, "protocol": "UDP" },
            { "containerPort": 8080, "name": "metrics" },
        ] }]);
        assert_eq!(found(&containers, &[]), app(8080));
        assert_eq!(found(&containers, &[("target-port", "9000")]), app(9000));
        let told = found(&containers, &[("target-port", "web")]).unwrap_err();
        assert_eq!(
            told,
            "spec.containers[0]: has no port named web; it has 8080 x, 8080 metrics: set the annotation portcullis.dev/target-port of the pod template, or --target-port"
        );
    }

    #[test]
    fn of_several_ports_the_one_named_http_or_web_is_taken() {
        let ports = |name: &str| {
            json!([{ "name": "app", "ports": [
                { "containerPort": 9000, "name": "metrics" },
                { "containerPort": 8080, "name": name },
            ] }])
        };
        assert_eq!(found(&ports("http"), &[]), app(8080));
        assert_eq!(found(&ports("web"), &[]), app(8080));
        let told = found(&ports("api"), &[]).unwrap_err();
        assert!(told.contains(
            "has several ports, and none is named http or web; it has 9000 metrics, 8080 api"
        ));
        assert_eq!(found(&ports("api"), &[("target-port", "api")]), app(8080));
    }

    #[test]
    fn without_a_port_one_has_to_be_named() {
        let containers = json!([{ "name": "app" }]);
        let told = found(&containers, &[]).unwrap_err();
        assert!(
            told.contains("inject: disabled, for another: set the annotation"),
            "{told}"
        );
    }

    #[test]
    fn a_port_for_https_is_none_for_plain_http() {
        let containers =
            json!([{ "name": "app", "ports": [{ "containerPort": 9443, "name": "https" }] }]);
        assert!(
            found(&containers, &[])
                .unwrap_err()
                .contains("not for plain HTTP")
        );
        assert_eq!(found(&containers, &[("target-port", "9443")]), app(9443));
    }

    #[test]
    fn among_several_containers_the_one_with_the_port_is_taken_and_told() {
        let containers = json!([
            { "name": "log" },
            { "name": "app", "ports": [{ "containerPort": 80 }] },
        ]);
        assert_eq!(found(&containers, &[]), app(80));
        let template = json!({ "spec": { "containers": containers } });
        let note = found_in(&template, &[]).unwrap().note.unwrap();
        assert_eq!(note.at.to_string(), "spec.containers[1]");
        assert!(
            note.text.starts_with(
                "taken for the app, with port 80, because no other container has a port"
            )
        );
        let told = found(&containers, &[("target-port", "81")]).unwrap_err();
        assert_eq!(
            told,
            "spec.containers: which of the containers is the app? There are log (no port), app (80): set the annotation portcullis.dev/container of the pod template, or --container"
        );
    }

    #[test]
    fn a_container_that_is_named_is_taken() {
        let ports = json!([{ "containerPort": 80 }]);
        let template = |annotations: &Value| {
            json!({ "metadata": { "annotations": annotations }, "spec": {
                "containers": [{ "name": "a", "ports": ports }, { "name": "b", "ports": ports }],
                "initContainers": [{ "name": "setup" }],
            } })
        };
        let name = |annotations: &Value, pairs: &[(&str, &str)]| {
            found_in(&template(annotations), pairs).map(|found| found.app.container)
        };
        let default = json!({ "kubectl.kubernetes.io/default-container": "b" });
        assert_eq!(name(&default, &[]), Ok("b".to_owned()));
        assert_eq!(name(&default, &[("container", "a")]), Ok("a".to_owned()));
        assert!(name(&json!({}), &[]).is_err());
        let unknown = json!({ "portcullis.dev/container": "c" });
        assert_eq!(
            name(&unknown, &[]).unwrap_err(),
            "metadata.annotations[portcullis.dev/container]: there is no container c; there are a (80), b (80)"
        );
        let told = name(&json!({}), &[("container", "setup")]).unwrap_err();
        assert!(told.contains("container setup is an init container"));
    }

    #[test]
    fn names_that_mean_another_containers_port_are_not_the_apps() {
        let template = json!({ "spec": {
            "containers": [
                { "name": "a", "ports": [{ "containerPort": 9000, "name": "http" }] },
                { "name": "app", "ports": [
                    { "containerPort": 80, "name": "http" },
                    { "containerPort": 80, "name": "web" },
                ] },
            ],
            "initContainers": [
                { "name": "once", "ports": [{ "containerPort": 1 }] },
                { "name": "always", "restartPolicy": "Always", "ports": [{ "containerPort": 2 }] },
            ],
        } });
        let app = found_in(&template, &[("container", "app")]).unwrap().app;
        assert_eq!(app.names, ["web"]);
        assert_eq!(app.others, [(9000, Some("http".to_owned())), (2, None)]);
    }
}
