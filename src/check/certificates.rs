//! What is in the certificates and beside them, and whether it could be served.

use std::fmt::Write as _;
use std::time::SystemTime;

use portcullis_certs::{Found, Setup, examine};

use crate::config::Config;
use crate::wiring::read_tokens;

/// Describes every part; whether all can be used.
pub(super) fn describe(text: &mut String, config: &Config) -> bool {
    let mut is_sound = describe_each(text, "", &config.certificates);
    if let Some(tls) = &config.admin.tls {
        is_sound &= describe_each(text, "admin plane: ", tls);
    }
    if let Some(file) = &config.admin.token_file {
        let _ = writeln!(text, "admin plane: {}", file.display());
        let read = read_tokens(file);
        is_sound &= read.is_ok();
        let _ = match read {
            Ok(tokens) => writeln!(text, "  tokens     {}", tokens.count()),
            Err(why) => writeln!(text, "  error: {why}\n  `run` would not start"),
        };
    }
    is_sound
}

fn describe_each(text: &mut String, whose: &str, setup: &Setup) -> bool {
    let mut is_sound = true;
    for part in examine(setup, SystemTime::now().into()) {
        let _ = writeln!(text, "{whose}{}", part.label);
        match part.found {
            Ok(found) => facts(text, &found),
            Err(error) => {
                is_sound = false;
                let _ = writeln!(
                    text,
                    "  error: {error}\n  `run` would start and wait for it"
                );
            }
        }
    }
    is_sound
}

fn facts(text: &mut String, found: &Found) {
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
