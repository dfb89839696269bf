//! The part of the configuration that is about certificates, theirs and ours.

use std::path::{Path, PathBuf};

use portcullis_certs::{ClientAuth, MinVersion, SanPattern, Setup, Source};

use super::build::Fields;
use super::parse;

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Off,
    Optional,
    Required,
}

/// The setup, and the paths of `--client-auth-exempt`.
pub(super) fn read(fields: &mut Fields<'_>) -> (Setup, Vec<String>) {
    let sources = sources(fields);
    let exempt = fields.all("client-auth-exempt", parse::exact_path);
    let setup = Setup {
        min: min_version(fields),
        client_auth: client_auth(fields, &sources, !exempt.is_empty()),
        ticket_seed: fields.optional("ticket-seed", path),
        sources,
    };
    (setup, exempt)
}

fn sources(fields: &mut Fields<'_>) -> Vec<Source> {
    if let Some((certificate, key)) = pair(fields, "cert", "key") {
        return vec![Source::Files { certificate, key }];
    }
    let folders = fields.all("cert-dir", path);
    let is_twice = |at: usize| folders[..at].contains(&folders[at]);
    if (1..folders.len()).any(is_twice) {
        fields
            .mistakes
            .push("--cert-dir names the same folder twice".to_owned());
    }
    folders.into_iter().map(Source::Directory).collect()
}

/// A certificate and its key, which only go together.
pub(super) fn pair(fields: &mut Fields<'_>, cert: &str, key: &str) -> Option<(PathBuf, PathBuf)> {
    match (fields.optional(cert, path), fields.optional(key, path)) {
        (Some(certificate), Some(key)) => return Some((certificate, key)),
        (Some(_), None) => fields.mistakes.push(format!("--{cert} needs --{key}")),
        (None, Some(_)) => fields.mistakes.push(format!("--{key} needs --{cert}")),
        (None, None) => {}
    }
    None
}

fn min_version(fields: &mut Fields<'_>) -> MinVersion {
    let profile = fields.parse("tls-profile", |text| match text {
        "intermediate" => Ok(MinVersion::Tls12),
        "modern" => Ok(MinVersion::Tls13),
        _ => Err(format!("{text:?} is not known; use intermediate or modern")),
    });
    let min = fields.optional("tls-min", |text| match text {
        "1.2" => Ok(MinVersion::Tls12),
        "1.3" => Ok(MinVersion::Tls13),
        _ => Err(format!("{text:?} is not spoken; use 1.2 or 1.3")),
    });
    if (profile, min) == (Some(MinVersion::Tls13), Some(MinVersion::Tls12)) {
        fields
            .mistakes
            .push("--tls-min 1.2 is below --tls-profile modern, which is TLS 1.3 only".to_owned());
    }
    min.or(profile).unwrap_or_default()
}

fn client_auth(
    fields: &mut Fields<'_>,
    sources: &[Source],
    has_exempt: bool,
) -> Option<ClientAuth> {
    // None: a mistake that is on the list.
    let mode = fields.optional("client-auth", |text| match text {
        "off" => Ok(Mode::Off),
        "optional" => Ok(Mode::Optional),
        "required" => Ok(Mode::Required),
        _ => Err(format!(
            "{text:?} is not known; use off, optional or required"
        )),
    });
    let ca = fields.optional("client-ca", path);
    let crl = fields.optional("client-crl", path);
    let allow: Vec<SanPattern> = fields.all("allow-san", str::parse);
    if has_exempt && mode.is_some_and(|mode| mode != Mode::Required) {
        fields.mistakes.push(
            "--client-auth-exempt needs --client-auth required: nothing else is closed that a path could be exempt from"
                .to_owned(),
        );
    }
    if mode == Some(Mode::Off) {
        for name in ["client-ca", "client-crl", "allow-san"] {
            if fields.raw.get(name).is_some() {
                fields.mistakes.push(format!(
                    "--{name} without --client-auth: nobody would be asked for a certificate; add --client-auth required"
                ));
            }
        }
        return None;
    }
    let beside = match sources.first() {
        Some(Source::Directory(folder)) => Some(folder.join("ca.crt")),
        _ => None,
    };
    let Some(ca) = ca.or(beside) else {
        fields
            .mistakes
            .push("--client-auth with --cert needs --client-ca".to_owned());
        return None;
    };
    Some(ClientAuth {
        // An exempt path can only be seen after the handshake, which therefore asks without insisting.
        is_required: mode == Some(Mode::Required) && !has_exempt,
        ca,
        crl,
        allow,
    })
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    Ok(Path::new(text).to_owned())
}
