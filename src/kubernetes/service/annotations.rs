//! What the annotations of a Service ask for.

use serde_json::Value;

use super::super::change::{Mistake, Path};
use super::ports::Target;
use crate::kubernetes::settings::{
    INJECT, INJECTED, MAX_MISTAKES, MAX_NAME, PREFIX, annotation, own_port, port_ref,
};

pub(super) const TARGET_PORT: &str = "target-port";
pub(super) const HTTPS_PORT: &str = "https-port";
const KNOWN: [&str; 4] = [INJECT, INJECTED, TARGET_PORT, HTTPS_PORT];

/// What they say.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// The Service was moved already.
    pub(super) is_injected: bool,
    /// The Service is to be left alone.
    pub(super) is_disabled: bool,
    /// Where the ports that are to be moved lead to.
    pub(super) target: Option<Target>,
    /// Where they are to lead to.
    pub(super) https: Option<u16>,
}

pub(super) fn all() -> Path {
    Path::default().to("metadata").to("annotations")
}

pub(super) fn read(service: &Value) -> Result<Settings, Vec<Mistake>> {
    let (mut settings, mut mistakes) = (Settings::default(), Vec::new());
    let entries = service["metadata"]["annotations"].as_object();
    for (key, value) in entries.into_iter().flatten() {
        let Some(name) = key.strip_prefix(PREFIX) else {
            continue;
        };
        let taken = match value.as_str() {
            Some(text) => take(name, text, &mut settings),
            None => Err("the value of an annotation is a string: put it into quotes".to_owned()),
        };
        if mistakes.len() >= MAX_MISTAKES {
            break;
        }
        if let Err(text) = taken {
            let at = annotation(name);
            mistakes.push(Mistake { at, text });
        }
    }
    if mistakes.is_empty() && settings.https.is_some() && settings.target.is_none() {
        let at = annotation(HTTPS_PORT);
        let text = format!("it needs {PREFIX}{TARGET_PORT}, which says what is to be moved there");
        mistakes.push(Mistake { at, text });
    }
    if mistakes.is_empty() {
        Ok(settings)
    } else {
        Err(mistakes)
    }
}

fn take(name: &str, value: &str, settings: &mut Settings) -> Result<(), String> {
    match name {
        INJECT => {
            settings.is_disabled = match value {
                "enabled" => false,
                "disabled" => true,
                _ => return Err(format!("{value:?} is neither enabled nor disabled")),
            }
        }
        INJECTED => settings.is_injected = true,
        TARGET_PORT => settings.target = Some(port_ref(value)?),
        HTTPS_PORT => settings.https = Some(own_port(value)?),
        _ => return Err(unknown(name)),
    }
    Ok(())
}

fn unknown(name: &str) -> String {
    let near = KNOWN
        .into_iter()
        .filter(|known| *known != INJECTED && name.len() <= MAX_NAME)
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match near {
        Some((_, near)) => {
            format!("there is no such annotation; did you mean {PREFIX}{near}?")
        }
        None => format!(
            "a Service has no such annotation, but {PREFIX}{INJECT}, {PREFIX}{TARGET_PORT} and {PREFIX}{HTTPS_PORT}; \
             what is about the sidecar belongs to the pod template"
        ),
    }
}
