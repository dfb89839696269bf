//! Every value with its origin, and what it comes to.

use std::fmt::Write as _;

use portcullis_certs::MinVersion;

use crate::config::{Config, Raw, options};

/// A line for each option.
pub(super) fn describe(raw: &Raw) -> String {
    let mut text = String::from("configuration\n");
    let width = options()
        .map(|opt| opt.name.len())
        .max()
        .unwrap_or_default();
    for opt in options() {
        let (value, origin) = match raw.get(opt.name) {
            Some(given) if opt.name == "cert-dir" && raw.is_explicit("cert") => {
                (given.text(), "not used: --cert is".to_owned())
            }
            Some(given) => (given.text(), given.origin.to_string()),
            None => ("-".to_owned(), "not set".to_owned()),
        };
        let _ = writeln!(text, "  {:<width$} {value:<28} {origin}", opt.name);
    }
    text
}

/// What is not said in so many words.
pub(super) fn in_effect(text: &mut String, config: &Config) {
    let capacity = &config.limits.capacity;
    let _ = writeln!(
        text,
        "  in effect: service-name {}, workers {}, max-connections {}, max-requests {}, TLS {}",
        config.service_name,
        config.workers,
        capacity.connections,
        capacity.requests,
        match config.certificates.min {
            MinVersion::Tls12 => "1.2 and 1.3",
            MinVersion::Tls13 => "1.3",
        }
    );
    let memory = match capacity.memory {
        Some(bytes) => format!("a memory limit of {} MiB", bytes >> 20),
        None => "no memory limit".to_owned(),
    };
    let _ = writeln!(
        text,
        "  room: {} connections of clients ({}), {} of the application; {memory}",
        capacity.connections, capacity.bound, capacity.upstream
    );
}
