//! The ports of a Service: where each leads to, and how one is led elsewhere.

use serde_json::Value;

use super::super::change::{Change, Path};
use super::Moved;
/// Where a port of a Service leads to in a pod.
pub(super) use crate::kubernetes::settings::PortRef as Target;

/// One port.
#[derive(Debug)]
pub(super) struct Port<'a> {
    index: usize,
    pub(super) number: u16,
    pub(super) name: Option<&'a str>,
    pub(super) target: Target,
    is_target_written: bool,
    protocol: Option<&'a str>,
}

impl Port<'_> {
    pub(super) fn at(&self) -> Path {
        place().to(self.index)
    }
}

pub(super) fn place() -> Path {
    Path::default().to("spec").to("ports")
}

/// The TCP ports that are written so that they can be understood.
pub(super) fn of(service: &Value) -> impl Iterator<Item = Port<'_>> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports
        .enumerate()
        .filter_map(|(index, port)| read(index, port))
}

fn read(index: usize, port: &Value) -> Option<Port<'_>> {
    if !matches!(port["protocol"].as_str(), None | Some("TCP")) {
        return None;
    }
    let number = number(&port["port"])?;
    let target = match &port["targetPort"] {
        Value::Null => Target::Number(number),
        Value::String(name) => Target::Name(name.clone()),
        written => Target::Number(self::number(written)?),
    };
    Some(Port {
        index,
        number,
        name: port["name"].as_str(),
        target,
        is_target_written: port.get("targetPort").is_some(),
        protocol: port["appProtocol"].as_str(),
    })
}

fn number(value: &Value) -> Option<u16> {
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    number.filter(|number| *number > 0)
}

/// Leads a port to the sidecar.
pub(super) fn move_to(https: u16, port: &Port<'_>, moved: &mut Moved) {
    let at = port.at().to("targetPort");
    moved.changes.push(if port.is_target_written {
        Change::replace(at, https)
    } else {
        Change::add(at, https)
    });
    let at = port.at().to("appProtocol");
    match port.protocol.map(over_tls) {
        Some(Over::Tls(protocol)) => moved.changes.push(Change::replace(at, protocol)),
        Some(Over::Unknown(protocol)) => moved.note(
            at,
            format!("{protocol} is left as it is: whoever goes by it has to know that it is over TLS now"),
        ),
        Some(Over::Any) | None => {}
    }
}

/// What an application protocol is called when it is over TLS.
enum Over<'a> {
    Tls(&'static str),
    /// It says nothing of HTTP in plain.
    Any,
    Unknown(&'a str),
}

fn over_tls(protocol: &str) -> Over<'_> {
    match &*protocol.to_ascii_lowercase() {
        "http" | "http2" | "h2c" | "kubernetes.io/h2c" => Over::Tls("https"),
        "ws" => Over::Tls("wss"),
        "kubernetes.io/ws" => Over::Tls("kubernetes.io/wss"),
        "" | "https" | "wss" | "kubernetes.io/wss" | "tcp" | "tls" | "ssl" => Over::Any,
        _ => Over::Unknown(protocol),
    }
}
