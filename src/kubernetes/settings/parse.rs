//! Parsers of what settings say. Each error says what would have been right.

use portcullis_certs::SanPattern;

use super::{ClientAuth, Mode, PortRef, PreStop, Protocol};

/// A port that a process without privileges may listen on: the sidecar is one.
pub(crate) fn own_port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port >= 1024);
    port.ok_or_else(|| format!("{text:?} is not a port from 1024 to 65535"))
}

/// Any port.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("{text:?} is not a port from 1 to 65535"))
}

/// A port by its number, or by the name that a container gives it.
pub(crate) fn port_ref(text: &str) -> Result<PortRef, String> {
    if let Ok(number) = port(text) {
        return Ok(PortRef::Number(number));
    }
    if is_port_name(text) {
        return Ok(PortRef::Name(text.to_owned()));
    }
    Err(format!(
        "{text:?} is neither a port from 1 to 65535 nor the name of one, like http"
    ))
}

/// As Kubernetes has it (RFC 6335, section 5.1).
fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.split('-').all(|part| !part.is_empty())
        && text.bytes().all(|byte| is_lower(byte) || byte == b'-')
}

/// The name of a Secret: a DNS subdomain.
pub(super) fn secret(text: &str) -> Result<String, String> {
    let is_name = text.len() <= 253 && text.split('.').all(is_label);
    found(is_name, text, "the name of a Secret, like app-tls")
}

/// The name of a container: a DNS label.
pub(super) fn container(text: &str) -> Result<String, String> {
    let is_name = text.len() <= 63 && is_label(text);
    found(is_name, text, "the name of a container, like app")
}

fn is_label(text: &str) -> bool {
    !text.starts_with('-')
        && !text.ends_with('-')
        && !text.is_empty()
        && text.bytes().all(|byte| is_lower(byte) || byte == b'-')
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// An image reference. What it means is for the registry to say.
pub(super) fn image(text: &str) -> Result<String, String> {
    let is_one = text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-:/@+".contains(&byte));
    found(
        is_one,
        text,
        "an image, like registry.example/portcullis:1.0",
    )
}

/// What stands in every record.
pub(super) fn service_name(text: &str) -> Result<String, String> {
    let is_one = !text.trim().is_empty() && !text.contains(char::is_control);
    found(is_one, text, "a name for the records")
}

fn found(is_right: bool, text: &str, what: &str) -> Result<String, String> {
    if is_right {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not {what}"))
    }
}

/// Patterns between commas, as the sidecar reads them; each is kept as it was written.
pub(super) fn allow_san(text: &str) -> Result<Vec<String>, String> {
    let parts = text.split(',').map(str::trim);
    let patterns: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    if patterns.is_empty() {
        return Err("no pattern at all; leave it out to let in all names".to_owned());
    }
    let checked = |pattern: &str| pattern.parse::<SanPattern>().map(|_| pattern.to_owned());
    patterns.into_iter().map(checked).collect()
}

pub(super) fn mode(text: &str) -> Result<Mode, String> {
    let words = [("native", Mode::Native), ("classic", Mode::Classic)];
    one_of(text, &words)
}

pub(super) fn protocol(text: &str) -> Result<Protocol, String> {
    let words = [("http", Protocol::Http), ("h2c", Protocol::H2c)];
    one_of(text, &words)
}

pub(super) fn client_auth(text: &str) -> Result<ClientAuth, String> {
    let words = [
        ("off", ClientAuth::Off),
        ("optional", ClientAuth::Optional),
        ("required", ClientAuth::Required),
    ];
    one_of(text, &words)
}

pub(super) fn pre_stop(text: &str) -> Result<PreStop, String> {
    let words = [
        ("sleep", PreStop::Sleep),
        ("exec", PreStop::Exec),
        ("none", PreStop::None),
    ];
    one_of(text, &words)
}

/// Whether the object is to be left alone.
pub(super) fn inject(text: &str) -> Result<bool, String> {
    one_of(text, &[("enabled", false), ("disabled", true)])
}

fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("{text:?} is not known; use {}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_the_sidecar_need_no_privileges() {
        assert_eq!(own_port("8443"), Ok(8443));
        for wrong in ["443", "0", "65536", "-1", "", "https"] {
            assert!(own_port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_has_a_number_or_a_name() {
        assert_eq!(port_ref("80"), Ok(PortRef::Number(80)));
        assert_eq!(port_ref("http-2"), Ok(PortRef::Name("http-2".to_owned())));
        for wrong in [
            "0",
            "65536",
            "",
            "HTTP",
            "-http",
            "http-",
            "a--b",
            "8-0",
            "sixteen-letters0",
        ] {
            assert!(port_ref(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        for right in ["app-tls", "a", "app.example-tls", "0"] {
            assert_eq!(secret(right), Ok(right.to_owned()));
        }
        for wrong in ["", "App", "app_tls", "-a", "a-", "a..b", ".a", "a b"] {
            assert!(secret(wrong).is_err(), "{wrong}");
            assert!(container(wrong).is_err(), "{wrong}");
        }
        assert!(container("a.b").is_err());
    }

    #[test]
    fn images_may_have_a_registry_a_tag_and_a_digest() {
        for right in [
            "portcullis",
            "localhost:5000/a/b:1.0_x",
            "ghcr.io/a@sha256:00ff",
        ] {
            assert_eq!(image(right), Ok(right.to_owned()));
        }
        for wrong in ["", ":1", "a b", "a\n", "$(X)"] {
            assert!(image(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn patterns_stand_between_commas() {
        let both = ["DNS:*.corp.example".to_owned(), "IP:10.0.0.0/8".to_owned()];
        assert_eq!(
            allow_san("DNS:*.corp.example, IP:10.0.0.0/8,"),
            Ok(both.to_vec())
        );
        for wrong in ["", ",", "DNS:a**b", "URI:x"] {
            assert!(allow_san(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_word_that_is_not_known_is_told_the_others() {
        let told = client_auth("require").unwrap_err();
        assert_eq!(
            told,
            "\"require\" is not known; use off, optional, required"
        );
    }
}
