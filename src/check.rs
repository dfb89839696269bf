//! `portcullis check`: what would be run, with the origin of each value, and whether the certificate could be served. It
//! touches no port.

use std::fmt::Write as _;
use std::time::SystemTime;

use portcullis_certs::{Bundle, provider};

use crate::config::{Config, OPTIONS, Raw};

/// The account of a checked configuration, and whether everything is in order.
#[derive(Debug)]
pub struct Account {
    /// For people.
    pub text: String,
    /// False when the certificate cannot be served.
    pub is_sound: bool,
}

/// Explains a configuration that parsed.
pub fn explain(config: &Config, raw: &Raw) -> Account {
    let mut text = String::from("configuration\n");
    for opt in OPTIONS {
        // Writing to a String cannot fail, here and below.
        let _ = match raw.get(opt.name) {
            Some(given) if opt.name == "cert-dir" && raw.is_explicit("cert") => {
                writeln!(
                    text,
                    "  {:<20} {:<28} not used: --cert is",
                    opt.name, given.text
                )
            }
            Some(given) => writeln!(
                text,
                "  {:<20} {:<28} {}",
                opt.name, given.text, given.origin
            ),
            None => writeln!(text, "  {:<20} {:<28} not set", opt.name, "-"),
        };
    }
    let _ = writeln!(
        text,
        "  in effect: service-name {}, workers {}, max-connections {}",
        config.service_name, config.workers, config.limits.max_connections
    );
    let snapshot = config.certificate.read();
    let proven = snapshot.and_then(|snapshot| Bundle::prove(&snapshot, &provider()));
    let is_sound = proven.is_ok();
    match proven {
        Ok(bundle) => certificate(&mut text, &bundle),
        Err(error) => {
            let _ = writeln!(
                text,
                "certificate\n  error: {error}\n  `run` would start, not be ready, and wait for it"
            );
        }
    }
    Account { text, is_sound }
}

fn certificate(text: &mut String, bundle: &Bundle) {
    let _ = writeln!(text, "certificate");
    for facts in &bundle.chain {
        let _ = writeln!(
            text,
            "  subject    {}\n  issuer     {}\n  names      {}\n  valid      {} to {}\n  sha256     {}",
            facts.subject,
            facts.issuer,
            facts.names.join(", "),
            facts.not_before,
            facts.not_after,
            facts.sha256
        );
    }
    for warning in bundle.warnings(SystemTime::now().into()) {
        let _ = writeln!(text, "  warning: {warning}");
    }
}
