//! `portcullis check`: what would be run, with the origin of each value, and whether the certificate could be served. It
//! touches no port.

use std::fmt::Write as _;
use std::time::SystemTime;

use portcullis_certs::{Found, MinVersion, examine};

use crate::config::{Config, Raw, options};

/// The account of a checked configuration, and whether everything is in order.
#[derive(Debug)]
pub struct Account {
    /// For people.
    pub text: String,
    /// False when something that a certificate or a client CA comes from cannot be used.
    pub is_sound: bool,
}

/// Explains a configuration that parsed.
pub fn explain(config: &Config, raw: &Raw) -> Account {
    let mut text = String::from("configuration\n");
    for opt in options() {
        // Writing to a String cannot fail, here and below.
        let _ = match raw.get(opt.name) {
            Some(given) if opt.name == "cert-dir" && raw.is_explicit("cert") => {
                writeln!(
                    text,
                    "  {:<21} {:<28} not used: --cert is",
                    opt.name,
                    given.text()
                )
            }
            Some(given) => writeln!(
                text,
                "  {:<21} {:<28} {}",
                opt.name,
                given.text(),
                given.origin
            ),
            None => writeln!(text, "  {:<21} {:<28} not set", opt.name, "-"),
        };
    }
    let _ = writeln!(
        text,
        "  in effect: service-name {}, workers {}, max-connections {}, TLS {}",
        config.service_name,
        config.workers,
        config.limits.max_connections,
        match config.certificates.min {
            MinVersion::Tls12 => "1.2 and 1.3",
            MinVersion::Tls13 => "1.3",
        }
    );
    let now = SystemTime::now().into();
    let mut is_sound = true;
    for part in examine(&config.certificates, now) {
        let _ = writeln!(text, "{}", part.label);
        match part.found {
            Ok(found) => describe(&mut text, &found),
            Err(error) => {
                is_sound = false;
                let _ = writeln!(
                    text,
                    "  error: {error}\n  `run` would start and wait for it"
                );
            }
        }
    }
    Account { text, is_sound }
}

fn describe(text: &mut String, found: &Found) {
    for facts in &found.chain {
        let names: Vec<_> = facts.names.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "  subject    {}\n  issuer     {}\n  names      {}\n  key        {}\n  valid      {} to {}\n  sha256     {}",
            facts.subject,
            facts.issuer,
            names.join(", "),
            facts.key,
            facts.not_before,
            facts.not_after,
            facts.sha256
        );
    }
    if let Some(trust) = &found.trust {
        for ca in &trust.authorities {
            let _ = writeln!(text, "  client CA  {} until {}", ca.subject, ca.not_after);
        }
        for crl in &trust.crls {
            let next = crl
                .next_update
                .map_or_else(|| "none".to_owned(), |at| at.to_string());
            let _ = writeln!(
                text,
                "  CRL        {}: {} revoked, next update {next}",
                crl.issuer, crl.revoked
            );
        }
    }
    if found.is_seed {
        let _ = writeln!(text, "  ticket seed, long enough");
    }
    for warning in &found.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
}
