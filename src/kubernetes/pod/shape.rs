//! A pod as far as injection looks into it, with the types checked: past this border all has the shape it should have.

use serde_json::Value;

use crate::kubernetes::change::{Mistake, Path};

/// The parts of a pod that injection reads.
#[derive(Debug)]
pub(super) struct Pod<'a> {
    pub(super) spec: &'a Value,
    pub(super) containers: Vec<Container<'a>>,
    pub(super) init: Vec<Container<'a>>,
    /// `terminationGracePeriodSeconds`.
    pub(super) grace: Option<i64>,
    pub(super) is_on_host_network: bool,
    pub(super) has_fs_group: bool,
}

/// One container.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) at: Path,
    pub(super) value: &'a Value,
    pub(super) name: &'a str,
    pub(super) ports: Vec<Port<'a>>,
}

/// One port of a container.
#[derive(Debug)]
pub(super) struct Port<'a> {
    pub(super) at: Path,
    pub(super) number: u16,
    pub(super) name: Option<&'a str>,
    pub(super) is_tcp: bool,
    pub(super) is_of_host: bool,
}

impl<'a> Container<'a> {
    pub(super) fn tcp_ports(&self) -> impl Iterator<Item = &Port<'a>> {
        self.ports.iter().filter(|port| port.is_tcp)
    }

    pub(super) fn has_port(&self, number: u16) -> bool {
        self.tcp_ports().any(|port| port.number == number)
    }

    pub(super) fn port_named(&self, name: &str) -> Option<u16> {
        let mut ports = self.tcp_ports();
        let port = ports.find(|port| port.name == Some(name));
        port.map(|port| port.number)
    }

    /// Whether it runs for as long as the pod does although it is an init container.
    pub(super) fn is_native_sidecar(&self) -> bool {
        self.value.get("restartPolicy").and_then(Value::as_str) == Some("Always")
    }
}

impl<'a> Pod<'a> {
    /// # Errors
    /// All that has another shape.
    pub(super) fn read(template: &'a Value) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader::default();
        match reader.pod(template) {
            Some(pod) if reader.mistakes.is_empty() => {
                let ports = pod.all().map(|one| one.ports.len()).sum::<usize>();
                if pod.containers.len() + pod.init.len() + ports <= MAX_PARTS {
                    return Ok(pod);
                }
                let at = Path::default().to("spec");
                let text = format!("it has more than {MAX_PARTS} containers and ports");
                Err(vec![Mistake { at, text }])
            }
            _ => Err(reader.mistakes),
        }
    }

    /// Those that are there when the sidecar serves.
    pub(super) fn running(&self) -> impl Iterator<Item = &Container<'a>> {
        let sidecars = self.init.iter().filter(|one| one.is_native_sidecar());
        self.containers.iter().chain(sidecars)
    }

    /// Init containers too.
    pub(super) fn all(&self) -> impl Iterator<Item = &Container<'a>> {
        self.containers.iter().chain(&self.init)
    }
}

/// The container that has a sidecar's name, if there is one. This much is read of any JSON.
pub(super) fn named(template: &Value, name: &str) -> Option<Path> {
    ["initContainers", "containers"].iter().find_map(|key| {
        let list = template.get("spec")?.get(key)?.as_array()?;
        let is_it = |one: &Value| one.get("name").and_then(Value::as_str) == Some(name);
        let item = list.iter().position(is_it)?;
        Some(Path::default().to("spec").to(*key).to(item))
    })
}

#[derive(Default)]
struct Reader {
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn pod<'a>(&mut self, template: &'a Value) -> Option<Pod<'a>> {
        let top = Path::default();
        let at = top.to("spec");
        let Some(spec) = self.map(template, &top, "spec") else {
            self.none_else(at, "is not there, and it says what the pod has");
            return None;
        };
        let containers = self.containers(spec, &at, "containers");
        let init = self.containers(spec, &at, "initContainers");
        if containers.is_empty() {
            self.none_else(at.to("containers"), "has no container to stand in front of");
        }
        self.items(spec, &at, "volumes");
        let grace = self.field(
            spec,
            &at,
            "terminationGracePeriodSeconds",
            SECONDS,
            |value| value.as_i64().filter(|seconds| *seconds >= 0),
        );
        let is_on_host_network = self.field(spec, &at, "hostNetwork", SWITCH, Value::as_bool);
        let security = self.map(spec, &at, "securityContext");
        let group = security.and_then(|security| security.get("fsGroup"));
        Some(Pod {
            spec,
            containers,
            init,
            grace,
            is_on_host_network: is_on_host_network == Some(true),
            has_fs_group: group.is_some_and(|group| !group.is_null()),
        })
    }

    fn containers<'a>(&mut self, spec: &'a Value, at: &Path, key: &str) -> Vec<Container<'a>> {
        let items = self.items(spec, at, key);
        let read = items.iter().enumerate();
        read.filter_map(|(item, value)| self.container(value, at.to(key).to(item)))
            .collect()
    }

    fn container<'a>(&mut self, value: &'a Value, at: Path) -> Option<Container<'a>> {
        if !value.is_object() {
            self.wrong(at, format!("is {}, and not a container", kind(value)));
            return None;
        }
        let name = self.needed(value, &at, "name", TEXT, Value::as_str);
        let ports = self.items(value, &at, "ports");
        let ports = ports.iter().enumerate();
        let ports: Vec<_> = ports
            .filter_map(|(item, port)| self.port(port, at.to("ports").to(item)))
            .collect();
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            self.nested(value, &at, probe, "httpGet");
        }
        self.nested(value, &at, "lifecycle", "preStop");
        Some(Container {
            name: name?,
            at,
            value,
            ports,
        })
    }

    fn port<'a>(&mut self, value: &'a Value, at: Path) -> Option<Port<'a>> {
        if !value.is_object() {
            self.wrong(at, format!("is {}, and not a port", kind(value)));
            return None;
        }
        let number = self.needed(value, &at, "containerPort", PORT, number);
        let name = self.field(value, &at, "name", TEXT, Value::as_str);
        let protocol = self.field(value, &at, "protocol", TEXT, Value::as_str);
        let of_host = self.field(value, &at, "hostPort", PORT, Value::as_u64);
        Some(Port {
            number: number?,
            at,
            name: name.filter(|name| !name.is_empty()),
            is_tcp: matches!(protocol, None | Some("" | "TCP")),
            is_of_host: of_host.is_some_and(|port| port > 0),
        })
    }

    fn nested(&mut self, holder: &Value, at: &Path, outer: &str, inner: &str) {
        if let Some(value) = self.map(holder, at, outer) {
            self.map(value, &at.to(outer), inner);
        }
    }

    fn map<'a>(&mut self, holder: &'a Value, at: &Path, key: &str) -> Option<&'a Value> {
        self.field(holder, at, key, MAP, |value| {
            value.is_object().then_some(value)
        })
    }

    fn items<'a>(&mut self, holder: &'a Value, at: &Path, key: &str) -> &'a [Value] {
        let items = self.field(holder, at, key, LIST, Value::as_array);
        items.map_or(&[], Vec::as_slice)
    }

    fn needed<'a, T>(
        &mut self,
        holder: &'a Value,
        at: &Path,
        key: &str,
        what: &str,
        take: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<T> {
        if holder.get(key).is_none_or(Value::is_null) {
            self.wrong(at.clone(), format!("has no {key}"));
        }
        self.field(holder, at, key, what, take)
    }

    /// What is there and not null; a mistake where it is something else than it should be.
    fn field<'a, T>(
        &mut self,
        holder: &'a Value,
        at: &Path,
        key: &str,
        what: &str,
        take: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = holder.get(key).filter(|value| !value.is_null())?;
        let taken = take(value);
        if taken.is_none() {
            self.wrong(at.to(key), format!("is {}, and not {what}", kind(value)));
        }
        taken
    }

    /// Said only where nothing is said already of why it is not there.
    fn none_else(&mut self, at: Path, text: &str) {
        let is_inside = |mistake: &Mistake| mistake.at.0.starts_with(&at.0);
        if !self.mistakes.iter().any(is_inside) {
            self.wrong(at, text.to_owned());
        }
    }

    fn wrong(&mut self, at: Path, text: String) {
        self.mistakes.push(Mistake { at, text });
    }
}

fn number(value: &Value) -> Option<u16> {
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    number.filter(|number| *number > 0)
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

const LIST: &str = "a list";
const MAP: &str = "a map";
const PORT: &str = "a port from 1 to 65535, as a number";
const SECONDS: &str = "a number of seconds";
const SWITCH: &str = "true or false";
const TEXT: &str = "a text";

/// No node runs more; what has to be compared with each other is few.
const MAX_PARTS: usize = 2000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mistakes(template: &Value) -> Vec<String> {
        let mistakes = Pod::read(template).unwrap_err();
        let told = |mistake: &Mistake| format!("{}: {}", mistake.at, mistake.text);
        mistakes.iter().map(told).collect()
    }

    #[test]
    fn what_has_another_type_is_told_with_its_place() {
        let template = json!({ "spec": {
            "containers": [
                { "ports": [{ "containerPort": "80" }, 3, {}] },
                "app",
                { "name": "app", "livenessProbe": [], "lifecycle": { "preStop": 1 } },
            ],
            "initContainers": { "a": 1 },
            "volumes": "none",
            "hostNetwork": "yes",
            "terminationGracePeriodSeconds": -1,
            "securityContext": 5,
        } });
        let expected = [
            "spec.containers[0]: has no name",
            "spec.containers[0].ports[0].containerPort: is \"80\", and not a port from 1 to 65535, as a number",
            "spec.containers[0].ports[1]: is 3, and not a port",
            "spec.containers[0].ports[2]: has no containerPort",
            "spec.containers[1]: is \"app\", and not a container",
            "spec.containers[2].livenessProbe: is a list, and not a map",
            "spec.containers[2].lifecycle.preStop: is 1, and not a map",
            "spec.initContainers: is a map, and not a list",
            "spec.volumes: is \"none\", and not a list",
            "spec.terminationGracePeriodSeconds: is -1, and not a number of seconds",
            "spec.hostNetwork: is \"yes\", and not true or false",
            "spec.securityContext: is 5, and not a map",
        ];
        assert_eq!(mistakes(&template), expected);
    }

    #[test]
    fn a_pod_without_containers_is_a_mistake_that_is_told_once() {
        let not_there = "spec: is not there, and it says what the pod has";
        let empty = "spec.containers: has no container to stand in front of";
        for (template, expected) in [
            (json!(7), not_there),
            (json!({ "spec": null }), not_there),
            (json!({ "spec": [] }), "spec: is a list, and not a map"),
            (json!({ "spec": {} }), empty),
            (json!({ "spec": { "containers": [] } }), empty),
            (
                json!({ "spec": { "containers": 3 } }),
                "spec.containers: is 3, and not a list",
            ),
        ] {
            assert_eq!(mistakes(&template), [expected]);
        }
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let template = json!({ "spec": {
            "containers": [{ "name": "app", "ports": null, "startupProbe": null, "lifecycle": { "preStop": null } }],
            "initContainers": null, "volumes": null, "hostNetwork": null, "securityContext": { "fsGroup": null },
            "terminationGracePeriodSeconds": null,
        } });
        let pod = Pod::read(&template).unwrap();
        assert_eq!(
            (pod.grace, pod.is_on_host_network, pod.has_fs_group),
            (None, false, false)
        );
    }
}
