//! The part of the configuration that is about the admin plane: where it is, and who is let in.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use portcullis_certs::{ClientAuth, Setup, Source};

use super::build::Fields;
use super::{certificates, parse};

/// The admin plane.
#[derive(Clone, Debug)]
pub struct AdminPlane {
    /// Where it listens.
    pub address: AdminAddress,
    /// Who may ask; none: whoever can connect.
    pub token_file: Option<PathBuf>,
    /// What it is served with; none: in clear.
    pub tls: Option<Setup>,
    /// Names under which it may be asked, besides addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// Where the admin plane listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket of mode 0600.
    Unix(PathBuf),
}

impl AdminAddress {
    /// Whether only processes of this pod can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `served`: what the data plane is served with.
pub(super) fn read(fields: &mut Fields<'_>, served: &Setup) -> Option<AdminPlane> {
    let plane = AdminPlane {
        address: fields.parse("admin", address)?,
        token_file: fields.optional("admin-token-file", certificates::path),
        tls: tls(fields, served)?,
        hosts: fields.all("admin-host", host),
    };
    check(&plane, fields.mistakes);
    Some(plane)
}

fn tls(fields: &mut Fields<'_>, served: &Setup) -> Option<Option<Setup>> {
    let is_wanted = fields.parse("admin-tls", parse::switch)?;
    let own = certificates::pair(fields, "admin-cert", "admin-key");
    let ca = fields.optional("admin-client-ca", certificates::path);
    if !is_wanted && own.is_none() {
        if ca.is_some() {
            fields.mistakes.push(
                "--admin-client-ca without --admin-tls: in clear nobody shows a certificate"
                    .to_owned(),
            );
        }
        return Some(None);
    }
    let sources = match own {
        Some((certificate, key)) => vec![Source::Files { certificate, key }],
        None => served.sources.clone(),
    };
    Some(Some(Setup {
        sources,
        min: served.min,
        client_auth: ca.map(|ca| ClientAuth {
            is_required: true,
            ca,
            crl: None,
            allow: Vec::new(),
        }),
        ticket_seed: None,
    }))
}

/// What is wrong only in combination.
fn check(plane: &AdminPlane, mistakes: &mut Vec<String>) {
    if !plane.address.is_local() {
        let lacks: Vec<&str> = [
            (plane.token_file.is_none(), "--admin-token-file FILE"),
            (
                plane.tls.is_none(),
                "--admin-tls (or --admin-cert and --admin-key)",
            ),
        ]
        .into_iter()
        .filter_map(|(is_missing, flag)| is_missing.then_some(flag))
        .collect();
        if !lacks.is_empty() {
            mistakes.push(format!(
                "--admin {}: off the loopback the admin plane needs {}; or use 127.0.0.1, [::1] or unix:/PATH (the probe plane may be reached from outside)",
                plane.address,
                lacks.join(" and ")
            ));
        }
    }
    if matches!(plane.address, AdminAddress::Unix(_)) && plane.tls.is_some() {
        mistakes.push(
            "--admin-tls on a Unix socket: nobody else can read along there; leave it out"
                .to_owned(),
        );
    }
}

fn address(text: &str) -> Result<AdminAddress, String> {
    let Some(path) = text.strip_prefix("unix:") else {
        return parse::address(text)
            .map(AdminAddress::Tcp)
            .map_err(|error| {
                format!("{error}, nor a socket like unix:/run/portcullis/admin.sock")
            });
    };
    let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
    if !path.is_absolute() {
        return Err(format!(
            "{text:?}: a socket needs an absolute path, like unix:/run/portcullis/admin.sock"
        ));
    }
    // sockaddr_un has room for 108 bytes, the last of which is 0 (unix(7)).
    if path.as_os_str().len() > 107 {
        return Err(format!(
            "{text:?}: the path of a socket has 107 bytes at most"
        ));
    }
    Ok(AdminAddress::Unix(path))
}

fn host(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if is_name {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!(
            "{text:?} is not a host name like portcullis.shop.svc, without a port"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plane_is_at_an_address_or_a_socket() {
        for (text, shown) in [
            ("127.0.0.1:9901", "127.0.0.1:9901"),
            (":9901", "[::]:9901"),
            ("unix:/run/p.sock", "unix:/run/p.sock"),
            ("unix:///run/p.sock", "unix:/run/p.sock"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), shown);
        }
        let long = format!("unix:/{}", "a".repeat(107));
        for text in ["", "unix:", "unix:run/p.sock", "9901", &long] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
