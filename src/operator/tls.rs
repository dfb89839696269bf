//! What an admin plane that speaks TLS is verified with, and what is shown to it.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;

use super::Trouble;
use crate::client_tls::{self, Identity};

/// How TLS is spoken to one admin plane.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    /// The name that its certificate has to have.
    pub(super) name: ServerName<'static>,
    /// Whether we show a certificate, too.
    pub(super) has_certificate: bool,
}

/// What the command line says about TLS.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// `--admin-ca`.
    pub(super) ca: Option<String>,
    /// `--admin-server-name`.
    pub(super) server_name: Option<String>,
    /// `--admin-client-cert`.
    pub(super) certificate: Option<String>,
    /// `--admin-client-key`.
    pub(super) key: Option<String>,
}

impl Tls {
    /// For the admin plane on this host.
    pub(super) fn new(host: &str, asked: &Asked) -> Result<Self, Trouble> {
        let name = asked.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            Trouble::Usage(format!(
                "--admin-server-name {name:?} is neither a name nor an address"
            ))
        })?;
        let roots = roots(asked.ca.as_deref())?;
        let identity = identity(asked)?;
        let has_certificate = identity.is_some();
        let config = client_tls::config(roots, identity).map_err(|error| unusable(&error))?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
            has_certificate,
        })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish()
    }
}

fn roots(ca: Option<&str>) -> Result<RootCertStore, Trouble> {
    let path = ca.ok_or_else(|| {
        Trouble::Usage(
            "https needs --admin-ca FILE: the CA that the admin plane's certificate comes from, PEM".to_owned(),
        )
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in chain("admin-ca", path)? {
        roots
            .add(certificate)
            .map_err(|error| Trouble::Usage(format!("--admin-ca {path:?}: {error}")))?;
    }
    Ok(roots)
}

fn identity(asked: &Asked) -> Result<Option<Identity>, Trouble> {
    let (certificate, key) = match (&asked.certificate, &asked.key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => {
            return Err(Trouble::Usage(
                "--admin-client-cert and --admin-client-key go together".to_owned(),
            ));
        }
    };
    let chain = chain("admin-client-cert", certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| Trouble::Usage(format!("reading --admin-client-key {key:?}: {error}")))?;
    Ok(Some((chain, key)))
}

/// All certificates of a PEM file, of which there has to be one.
fn chain(flag: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let wrong =
        |why: &dyn std::fmt::Display| Trouble::Usage(format!("reading --{flag} {path:?}: {why}"));
    let pem = std::fs::read(path).map_err(|error| wrong(&error))?;
    client_tls::certificates(&pem).map_err(|why| wrong(&why))
}

fn unusable(error: &rustls::Error) -> Trouble {
    Trouble::Usage(format!("preparing TLS to the admin plane: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(host: &str, asked: &Asked) -> String {
        let trouble = Tls::new(host, asked).unwrap_err();
        assert_eq!(trouble.code(), 2);
        trouble.to_string()
    }

    #[test]
    fn what_tls_lacks_is_asked_for_by_the_name_of_its_flag() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no PEM").unwrap();
        let ca = |path: &str| Asked {
            ca: Some(path.to_owned()),
            ..Asked::default()
        };
        let empty = empty.to_str().unwrap();
        for (asked, part) in [
            (Asked::default(), "https needs --admin-ca FILE"),
            (ca("/nowhere"), "reading --admin-ca \"/nowhere\""),
            (ca(empty), "there is no certificate in it"),
            (
                Asked {
                    server_name: Some("a b".to_owned()),
                    ..Asked::default()
                },
                "--admin-server-name \"a b\"",
            ),
        ] {
            let words = words("localhost", &asked);
            assert!(words.contains(part), "{words}");
        }
    }
}
