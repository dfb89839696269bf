//! The settings of one pod: what was given for all, and on top of it what the annotations of its template say.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    Given, INJECT, INJECTED, MAX_MISTAKES, PREFIX, Settings, annotation, find, how, parse, said,
    unknown,
};
use crate::kubernetes::change::{Mistake, Path};

/// Whether the object says that it is to be left alone.
pub(crate) fn is_disabled(object: &Value) -> bool {
    // The API server looks at labels before it asks a webhook.
    let label = object.pointer("/metadata/labels/portcullis.dev~1inject");
    let is_no = |said: Option<&Value>| said.and_then(Value::as_str) == Some("disabled");
    is_no(said(object, INJECT)) || is_no(label)
}

/// The settings of a pod and all that is wrong with them; where something is, they are what the rest says.
pub(crate) fn read(template: &Value, given: &Given) -> (Settings, Vec<Mistake>) {
    let mut reading = Reading {
        settings: given.settings.clone(),
        annotated: BTreeSet::new(),
        mistakes: Vec::new(),
    };
    if let Some(annotations) = reading.annotations(template) {
        for (key, value) in annotations {
            if reading.mistakes.len() >= MAX_MISTAKES {
                break;
            }
            if let Some(name) = key.strip_prefix(PREFIX) {
                reading.take(name, value);
            }
        }
    }
    reading.needs_a_certificate();
    reading.needs_client_auth(given);
    reading.has_three_ports();
    (reading.settings, reading.mistakes)
}

struct Reading {
    settings: Settings,
    /// Which of them annotations have said.
    annotated: BTreeSet<&'static str>,
    mistakes: Vec<Mistake>,
}

impl Reading {
    fn annotations<'a>(&mut self, template: &'a Value) -> Option<&'a Map<String, Value>> {
        let mut at = Path::default();
        let mut value = template;
        for key in ["metadata", "annotations"] {
            at = at.to(key);
            value = value.get(key).filter(|value| !value.is_null())?;
            if !value.is_object() {
                self.wrong(at, "is not a map of keys and values");
                return None;
            }
        }
        value.as_object()
    }

    fn take(&mut self, name: &str, value: &Value) {
        if name == INJECTED {
            return;
        }
        if let Err(text) = self.taken(name, value) {
            self.wrong(annotation(name), text);
        }
    }

    fn taken(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let known = find(name);
        if known.is_none() && name != INJECT {
            return Err(unknown(name));
        }
        let text = value.as_str().ok_or_else(|| {
            format!("{value} is not a string, and values of annotations are: put it between quotes")
        })?;
        match known {
            Some(setting) => {
                self.annotated.insert(setting.name);
                (setting.set)(&mut self.settings, text)
            }
            None => parse::inject(text).map(drop),
        }
    }

    fn needs_a_certificate(&mut self) {
        if self.settings.tls_secret.is_empty() && !self.annotated.contains("tls-secret") {
            let text = format!(
                "it is not said which Secret has the certificate: set {}",
                how("tls-secret")
            );
            self.wrong(Path::default(), text);
        }
    }

    /// What has no effect would look like protection. A default for all pods is none for one that says off itself.
    fn needs_client_auth(&mut self, given: &Given) {
        if self.settings.asks_clients() || self.annotated_wrongly("client-auth") {
            return;
        }
        let is_said = given.names.contains("client-auth") || self.annotated.contains("client-auth");
        let used = [
            ("client-ca-secret", self.settings.client_ca_secret.is_some()),
            ("allow-san", !self.settings.allow_san.is_empty()),
        ];
        for (name, is_used) in used {
            if is_used && (self.annotated.contains(name) || !is_said) {
                let text = format!(
                    "{name} has no effect while client-auth is off: set {} to optional or required",
                    how("client-auth")
                );
                self.wrong(self.place(name), text);
            }
        }
    }

    fn has_three_ports(&mut self) {
        let ports = self.settings.own_ports();
        for (number, (name, port)) in ports.iter().enumerate() {
            let taken = ports[..number].iter().find(|(_, other)| other == port);
            if let Some((other, _)) = taken {
                let text = format!("{other} and {name} are both {port}: set {}", how(name));
                self.wrong(self.place(name), text);
            }
        }
    }

    fn annotated_wrongly(&self, name: &str) -> bool {
        let at = annotation(name);
        self.mistakes.iter().any(|mistake| mistake.at == at)
    }

    /// Where a setting was said; a flag is no place in the object.
    fn place(&self, name: &str) -> Path {
        if self.annotated.contains(name) {
            annotation(name)
        } else {
            Path::default()
        }
    }

    fn wrong(&mut self, at: Path, text: impl Into<String>) {
        let text = text.into();
        self.mistakes.push(Mistake { at, text });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::{Mode, PortRef, PreStop};
    use super::*;

    fn template(annotations: &Value) -> Value {
        json!({ "metadata": { "annotations": annotations } })
    }

    fn given(pairs: &[(&str, &str)]) -> Given {
        let mut given = Given::default();
        for (name, value) in pairs {
            given.set(name, value).unwrap();
        }
        given
    }

    fn mistakes(annotations: &Value, pairs: &[(&str, &str)]) -> Vec<String> {
        let (_, mistakes) = read(&template(annotations), &given(pairs));
        let told = |mistake: &Mistake| format!("{}: {}", mistake.at, mistake.text);
        mistakes.iter().map(told).collect()
    }

    const SECRET: (&str, &str) = ("tls-secret", "a");

    #[test]
    fn an_annotation_wins_over_a_flag() {
        let annotations = json!({
            "portcullis.dev/tls-secret": "mine",
            "portcullis.dev/target-port": "web",
            "portcullis.dev/mode": "classic",
            "portcullis.dev/drain-delay": "1m 30s",
            "portcullis.dev/pre-stop": "none",
            "portcullis.dev/inject": "enabled",
            "portcullis.dev/injected": { "what": "ever" },
            "example.com/other": 1,
        });
        let given = given(&[SECRET, ("mode", "native"), ("https-port", "9443")]);
        let (settings, mistakes) = read(&template(&annotations), &given);
        let expected = Settings {
            tls_secret: "mine".to_owned(),
            target_port: Some(PortRef::Name("web".to_owned())),
            mode: Mode::Classic,
            drain_delay: Duration::from_secs(90),
            pre_stop: PreStop::None,
            https_port: 9443,
            ..Settings::default()
        };
        assert_eq!((settings, mistakes), (expected, Vec::new()));
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let annotations = json!({
            "portcullis.dev/https-port": "80",
            "portcullis.dev/probe-port": 9902,
            "portcullis.dev/tls-secrt": "x",
            "portcullis.dev/inject": "no",
        });
        let mut told = mistakes(&annotations, &[]);
        told.sort();
        let start = |name: &str| format!("metadata.annotations[portcullis.dev/{name}]: ");
        let expected = [
            ": it is not said which Secret has the certificate: set the annotation portcullis.dev/tls-secret of the pod template, or --tls-secret".to_owned(),
            start("https-port") + "\"80\" is not a port from 1024 to 65535",
            start("inject") + "\"no\" is not known; use enabled, disabled",
            start("probe-port") + "9902 is not a string, and values of annotations are: put it between quotes",
            start("tls-secrt") + "\"tls-secrt\" is not a setting; did you mean tls-secret?",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn annotations_that_are_no_map_are_a_mistake() {
        let told = mistakes(&json!([1]), &[SECRET]);
        assert_eq!(
            told,
            ["metadata.annotations: is not a map of keys and values"]
        );
        assert!(mistakes(&Value::Null, &[SECRET]).is_empty());
    }

    #[test]
    fn what_only_client_auth_makes_useful_needs_it() {
        let san = json!({ "portcullis.dev/allow-san": "DNS:a" });
        let off = ("client-auth", "off");
        assert_eq!(mistakes(&san, &[SECRET]).len(), 1);
        assert_eq!(mistakes(&san, &[SECRET, off]).len(), 1);
        assert!(mistakes(&san, &[SECRET, ("client-auth", "required")]).is_empty());
        let flags = [SECRET, ("client-ca-secret", "ca")];
        assert_eq!(mistakes(&Value::Null, &flags).len(), 1);
        let off = json!({ "portcullis.dev/client-auth": "off" });
        assert!(mistakes(&off, &flags).is_empty());
    }

    #[test]
    fn the_three_ports_of_the_sidecar_differ() {
        let same = json!({ "portcullis.dev/admin-port": "8443" });
        let told = mistakes(&same, &[SECRET]);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("https-port and admin-port are both 8443"));
    }

    #[test]
    fn only_the_word_disabled_leaves_an_object_alone() {
        let object = |word: &str| template(&json!({ "portcullis.dev/inject": word }));
        assert!(is_disabled(&object("disabled")));
        assert!(!is_disabled(&object("enabled")));
        assert!(!is_disabled(&json!(3)));
    }
}
