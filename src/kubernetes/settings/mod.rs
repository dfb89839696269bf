//! What can be set about an injection: by flags for all pods, and by annotations of a pod's template for that one.

mod parse;
mod read;
mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

pub(crate) use parse::{own_port, port_ref};
pub(crate) use read::{is_disabled, read};
pub(crate) use table::SETTINGS;

use super::change::Path;

/// What annotations of ours begin with.
pub(crate) const PREFIX: &str = "portcullis.dev/";

/// The annotation that switches injection off; it has no flag.
pub(crate) const INJECT: &str = "inject";

/// The annotation with the record of what was done.
pub(crate) const INJECTED: &str = "injected";

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The flag without its dashes; the annotation behind the prefix.
    pub(crate) name: &'static str,
    /// What a value looks like in the help.
    pub(crate) value: &'static str,
    /// What holds when nobody says anything.
    pub(crate) default: Option<&'static str>,
    /// A sentence or two.
    about: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Setting {
    /// For the flag of that name.
    pub(crate) fn help(&self) -> String {
        let default = self.default.map(|default| format!(" [default: {default}]"));
        let default = default.unwrap_or_default();
        let (about, name) = (self.about, self.name);
        format!("{about}{default} [annotation of the pod template, which wins: {PREFIX}{name}]")
    }
}

/// All settings of one pod. Nothing is parsed past this border.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Empty where nobody has said one, which is a mistake.
    pub(crate) tls_secret: String,
    pub(crate) image: String,
    pub(crate) container: Option<String>,
    pub(crate) target_port: Option<PortRef>,
    pub(crate) target_protocol: Protocol,
    pub(crate) mode: Mode,
    pub(crate) client_auth: ClientAuth,
    pub(crate) client_ca_secret: Option<String>,
    /// As they were written; empty lets in all.
    pub(crate) allow_san: Vec<String>,
    pub(crate) service_name: Option<String>,
    pub(crate) https_port: u16,
    pub(crate) probe_port: u16,
    pub(crate) admin_port: u16,
    pub(crate) redirect_port: Option<u16>,
    pub(crate) drain_delay: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) pre_stop: PreStop,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tls_secret: String::new(),
            image: concat!("portcullis:", env!("CARGO_PKG_VERSION")).to_owned(),
            container: None,
            target_port: None,
            target_protocol: Protocol::Http,
            mode: Mode::Native,
            client_auth: ClientAuth::Off,
            client_ca_secret: None,
            allow_san: Vec::new(),
            service_name: None,
            https_port: 8443,
            probe_port: 9902,
            admin_port: 9901,
            redirect_port: None,
            drain_delay: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(20),
            pre_stop: PreStop::Sleep,
        }
    }
}

impl Settings {
    pub(crate) fn asks_clients(&self) -> bool {
        self.client_auth != ClientAuth::Off
    }

    /// The ports that the sidecar listens on, with the settings that move them.
    pub(crate) fn own_ports(&self) -> [(&'static str, u16); 3] {
        [
            ("https-port", self.https_port),
            ("probe-port", self.probe_port),
            ("admin-port", self.admin_port),
        ]
    }
}

/// A port as objects name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PortRef {
    Number(u16),
    /// Of a port of the container.
    Name(String),
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What the app speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    /// HTTP/2 in clear, with prior knowledge.
    H2c,
}

/// What the sidecar is to Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// An init container that is restarted always.
    Native,
    /// One more container.
    Classic,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Off,
    Optional,
    Required,
}

/// How the app is kept while the sidecar drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PreStop {
    /// By the kubelet.
    Sleep,
    /// By a program in the app's image.
    Exec,
    /// Not at all.
    None,
}

/// What is set for all pods that say nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    settings: Settings,
    names: BTreeSet<&'static str>,
}

impl Given {
    /// Sets what a flag says.
    ///
    /// # Errors
    /// What is wrong with the name or the value; an error about the value does not repeat the name.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if name == INJECT {
            return Err(format!("{name} is an annotation only: {PREFIX}{name}"));
        }
        let setting = find(name).ok_or_else(|| unknown(name))?;
        (setting.set)(&mut self.settings, value)?;
        self.names.insert(setting.name);
        Ok(())
    }
}

fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

fn unknown(name: &str) -> String {
    let known = SETTINGS.iter().map(|setting| setting.name).chain([INJECT]);
    // What is much longer than all of them is like none of them, and would take long to compare.
    let near = known
        .filter(|_| name.len() <= MAX_NAME)
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    let near = near.map(|(_, known)| format!("; did you mean {known}?"));
    format!("{name:.64?} is not a setting{}", near.unwrap_or_default())
}

/// Of what may be a misspelt name.
pub(crate) const MAX_NAME: usize = 64;
/// So many mistakes of one object are told.
pub(crate) const MAX_MISTAKES: usize = 50;

/// Where an annotation of ours is.
pub(crate) fn annotation(name: &str) -> Path {
    let key = format!("{PREFIX}{name}");
    Path::default().to("metadata").to("annotations").to(&*key)
}

/// What an annotation of ours says on any object.
pub(crate) fn said<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    annotation(name).of(object)
}

/// How to set something, for people.
pub(crate) fn how(name: &str) -> String {
    format!("the annotation {PREFIX}{name} of the pod template, or --{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_in_the_help_are_those_that_hold() {
        let mut given = Given::default();
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                given.set(setting.name, default).unwrap();
            }
        }
        assert_eq!(given.settings, Settings::default());
    }

    #[test]
    fn help_names_the_default_and_the_annotation() {
        let help = find("https-port").unwrap().help();
        assert!(help.ends_with(
            "[default: 8443] [annotation of the pod template, which wins: portcullis.dev/https-port]"
        ));
    }

    #[test]
    fn a_name_that_is_not_known_is_told_a_near_one() {
        let mut given = Given::default();
        let mut told = |name: &str| given.set(name, "x").unwrap_err();
        assert_eq!(
            told("https-prt"),
            "\"https-prt\" is not a setting; did you mean https-port?"
        );
        assert_eq!(told("colour-of-sky"), "\"colour-of-sky\" is not a setting");
        assert_eq!(
            told("inject"),
            "inject is an annotation only: portcullis.dev/inject"
        );
        assert_eq!(told("mode"), "\"x\" is not known; use native, classic");
    }
}
