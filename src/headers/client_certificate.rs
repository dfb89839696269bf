//! `X-Forwarded-Client-Cert`, in Envoy's format: `By`, `Hash`, `Subject`, `URI` and `DNS`, each left out where there is none.

use std::fmt::Write as _;

use http::HeaderValue;
use portcullis_certs::{AltName, Bundle, Identity};

/// The field's value for a verified client who was shown `own`. None where no header could carry it.
pub(crate) fn client_certificate(client: &Identity, own: Option<&Bundle>) -> Option<HeaderValue> {
    let mut out = String::new();
    if let Some(by) = own.and_then(|own| own.leaf().names.iter().find_map(uri)) {
        element(&mut out, "By", by);
    }
    element(&mut out, "Hash", client.sha256());
    // Always in quotes: a name is full of commas. There is no quote in it, RFC 2253 writes that as a hex pair.
    let _ = write!(out, ";Subject=\"{}\"", client.subject());
    for uri in client.names().iter().filter_map(uri) {
        element(&mut out, "URI", uri);
    }
    for name in client.names() {
        if let AltName::Dns(dns) = name {
            element(&mut out, "DNS", dns);
        }
    }
    HeaderValue::from_str(&out).ok()
}

fn uri(name: &AltName) -> Option<&str> {
    match name {
        AltName::Uri(uri) => Some(uri),
        _ => None,
    }
}

/// One element. Left out is a name that no URI and no host could be, with quotes or spaces in it, for it is nobody's
/// identity, and what makes the field too long. Where a reader would take a character for syntax, the value stands in quotes.
fn element(out: &mut String, key: &str, value: &str) {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    if value.is_empty() || !value.bytes().all(is_plain) || out.len() + value.len() > LONGEST {
        return;
    }
    if !out.is_empty() {
        out.push(';');
    }
    let quote = if value.contains([',', ';', '=']) {
        "\""
    } else {
        ""
    };
    // Writing to a String cannot fail.
    let _ = write!(out, "{key}={quote}{value}{quote}");
}

/// Bytes of the whole field. Node takes 16 KiB of head; a certificate may have hundreds of names.
const LONGEST: usize = 8 * 1024;
