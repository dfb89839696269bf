//! `X-Forwarded-Client-Cert`, in Envoy's format: `By`, `Hash`, `Subject`, `URI` and `DNS`, each left out where there is none.

use std::fmt::Write as _;

use http::HeaderValue;
use portcullis_certs::{AltName, Bundle, Identity};

/// The field's value for a verified client who was shown `own`. None where no header could carry it.
pub(crate) fn client_certificate(client: &Identity, own: Option<&Bundle>) -> Option<HeaderValue> {
    let mut out = String::new();
    if let Some(by) = own.and_then(|own| own.leaf().names.iter().find_map(uri)) {
        element(&mut out, "By", &quoted(by));
    }
    element(&mut out, "Hash", client.sha256());
    // Always in quotes: a name is full of commas.
    element(&mut out, "Subject", &in_quotes(client.subject()));
    for uri in client.names().iter().filter_map(uri) {
        element(&mut out, "URI", &quoted(uri));
    }
    for name in client.names() {
        if let AltName::Dns(dns) = name {
            element(&mut out, "DNS", &quoted(dns));
        }
    }
    // What is not visible ASCII has been refused or escaped on the way; if not, it is nothing for a header.
    HeaderValue::from_str(&out).ok()
}

fn uri(name: &AltName) -> Option<&str> {
    match name {
        AltName::Uri(uri) => Some(uri),
        _ => None,
    }
}

fn element(out: &mut String, key: &str, value: &str) {
    if !out.is_empty() {
        out.push(';');
    }
    // Writing to a String cannot fail.
    let _ = write!(out, "{key}={value}");
}

/// In quotes where a reader would take a character for syntax.
fn quoted(value: &str) -> String {
    if value.contains([',', ';', '=', '"', '\\']) {
        in_quotes(value)
    } else {
        value.to_owned()
    }
}

fn in_quotes(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
