//! What flags, environment and file say, with the origin of each value. Precedence: flag, then environment, then file,
//! then default. An empty value is unset.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use clap::ArgMatches;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::given::{Given, Origin};
use super::options::{CLIENTS, LEGACY, Opt};
use super::table::{injection, options};

/// The winning value of every option that has one.
#[derive(Clone, Debug, Default)]
pub struct Raw(BTreeMap<&'static str, Given>);

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Raw {
    /// The winning value of an option.
    pub fn get(&self, name: &str) -> Option<&Given> {
        self.0.get(name)
    }

    /// Whether anybody but the default said something.
    pub fn is_explicit(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|given| given.origin != Origin::Default)
    }

    /// What a command takes instead of a default, or of anything that could be said.
    pub(crate) fn stage(
        &mut self,
        command: &'static str,
        name: &'static str,
        text: &impl fmt::Display,
    ) {
        let given = Given::one(text.to_string(), Origin::Command(command));
        self.0.insert(name, given);
    }

    /// The options that this is about, in the order of the help.
    pub(crate) fn options(&self) -> impl Iterator<Item = &'static Opt> {
        options().chain(injection().filter(|opt| self.get(opt.name).is_some()))
    }

    pub(super) fn gather(
        matches: &ArgMatches,
        known: &[&'static Opt],
        env: Environment<'_>,
        mistakes: &mut Vec<String>,
    ) -> Self {
        let mut raw = Self::default();
        for opt in known {
            if let Some(given) = from_flag(opt, matches).or_else(|| from_environment(opt, env)) {
                raw.0.insert(opt.name, given);
            }
        }
        if let Some(path) = raw.0.get("config").map(Given::text) {
            for (name, given) in from_file(&path, known, mistakes) {
                raw.0.entry(name).or_insert(given);
            }
        }
        for opt in options() {
            if let Some(default) = opt.default {
                raw.0
                    .entry(opt.name)
                    .or_insert_with(|| Given::one(default, Origin::Default));
            }
        }
        raw
    }
}

fn from_flag(opt: &'static Opt, matches: &ArgMatches) -> Option<Given> {
    let texts = match opt.value {
        Some(_) => matches.get_many::<String>(opt.name)?.cloned().collect(),
        None => vec![matches.get_flag(opt.name).then(|| "true".to_owned())?],
    };
    Some(Given {
        texts,
        origin: Origin::Flag(opt.name),
    })
}

fn from_environment(opt: &Opt, env: Environment<'_>) -> Option<Given> {
    let read = |name: &str| env(name).filter(|text| !text.is_empty());
    let own = opt.env();
    if let Some(text) = read(&own) {
        return Some(Given::split(opt, &text, Origin::Environment(own)));
    }
    let (legacy, _) = LEGACY.iter().find(|(_, name)| *name == opt.name)?;
    let text = read(legacy)?;
    let text = if *legacy == "PORT" {
        format!("[::]:{text}")
    } else {
        text
    };
    Some(Given::one(text, Origin::Environment((*legacy).to_owned())))
}

fn from_file(
    path: &str,
    known: &[&'static Opt],
    mistakes: &mut Vec<String>,
) -> Vec<(&'static str, Given)> {
    let entries = std::fs::read_to_string(path)
        .map_err(|error| error.to_string())
        .and_then(|text| {
            if text.trim().is_empty() {
                return Ok(BTreeMap::new());
            }
            serde_saphyr::from_str::<BTreeMap<String, serde_saphyr::Spanned<Value>>>(&text)
                .map_err(|error| error.to_string())
        });
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            mistakes.push(format!("reading the configuration file {path:?}: {error}"));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for (key, entry) in entries {
        let line = entry.referenced.line();
        let opt = known.iter().find(|opt| opt.name == key && key != "config");
        let Some(opt) = opt else {
            mistakes.push(format!(
                "{path}:{line}: unknown key {key:?}{}",
                did_you_mean(&key, known)
            ));
            continue;
        };
        let origin = Origin::File(path.to_owned(), line);
        match entry.value {
            Value::Nothing => {}
            Value::Text(text) => found.push((opt.name, Given::one(text, origin))),
            Value::List(texts) if opt.many => found.push((opt.name, Given { texts, origin })),
            Value::List(_) | Value::Map => {
                let takes = if opt.many { "a list" } else { "a single value" };
                mistakes.push(format!("{path}:{line}: {key} takes {takes}"));
            }
        }
    }
    found
}

/// Variables that look like a misspelt option: they are ignored, but somebody meant something. Kubernetes injects
/// `PORTCULLIS_PORT=tcp://…` and the like for a Service of that name; those are nobody's spelling.
pub(super) fn suspicious(variables: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let known: HashSet<String> = options().chain(injection()).map(Opt::env).collect();
    variables
        .filter(|(name, value)| {
            name.starts_with("PORTCULLIS_")
                && !known.contains(name)
                && !CLIENTS.contains(&&**name)
                && !injected(name, value)
        })
        .filter_map(|(name, _)| {
            let near = known
                .iter()
                .min_by_key(|known| strsim::damerau_levenshtein(known, &name))?;
            (strsim::damerau_levenshtein(near, &name) <= 3)
                .then(|| format!("{name} is not an option and is ignored; did you mean {near}?"))
        })
        .collect()
}

fn injected(name: &str, value: &str) -> bool {
    value.starts_with("tcp://")
        || value.starts_with("udp://")
        || name.contains("_SERVICE_")
        || name.contains("_PORT_")
}

fn did_you_mean(key: &str, known: &[&'static Opt]) -> String {
    known
        .iter()
        .map(|opt| (strsim::damerau_levenshtein(opt.name, key), opt.name))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| format!("; did you mean {name:?}?"))
        .unwrap_or_default()
}

/// A YAML value as text, so that `ring: 500` and `ring: "500"` are the same.
#[derive(Debug)]
enum Value {
    Text(String),
    /// As good as unset.
    Nothing,
    /// For an option that may be given several times.
    List(Vec<String>),
    /// No option takes one.
    Map,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // `tls-min: 1.2` is a number to YAML.
        Ok(Value::Text(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(if value.is_empty() {
            Value::Nothing
        } else {
            Value::Text(value.to_owned())
        })
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(element) = list.next_element::<Self::Value>()? {
            match element {
                Value::Text(text) => texts.push(text),
                Value::Nothing => {}
                Value::List(_) | Value::Map => return Ok(Value::Map),
            }
        }
        Ok(Value::List(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_read_is_no_misspelt_option() {
        let said = |name: &str| suspicious([(name.to_owned(), "x".to_owned())].into_iter());
        for name in CLIENTS {
            assert_eq!(said(name), Vec::<String>::new());
        }
        assert_eq!(said("PORTCULLIS_ADMIM").len(), 1);
    }
}
