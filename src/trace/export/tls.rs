//! What a collector that is reached by https is verified with.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Endpoint;
use super::followed::Followed;
use crate::client_tls;
use crate::config::Authorities;

/// How TLS is spoken to the collector.
#[derive(Debug)]
pub(super) struct Tls {
    /// The name that its certificate has to have.
    host: String,
    roots: Followed<Arc<RootCertStore>>,
}

impl Tls {
    pub(super) fn new(endpoint: &Endpoint, ca: &Authorities) -> Self {
        Self {
            host: endpoint.host.clone(),
            roots: roots(ca),
        }
    }

    pub(super) async fn secure(
        &mut self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let roots = self.roots.read().await?;
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| format!("{:?} is neither a name nor an address", self.host))?;
        let config = client_tls::config(RootCertStore::clone(&roots), None)
            .map_err(|error| format!("preparing TLS: {error}"))?;
        let connector = TlsConnector::from(Arc::new(config));
        let shaken = connector.connect(name, stream).await;
        shaken.map_err(|error| format!("TLS: {error}{}", hint(&error)))
    }
}

/// The file of the CAs.
pub(super) fn roots(ca: &Authorities) -> Followed<Arc<RootCertStore>> {
    let path = ca.path().to_owned();
    match ca {
        Authorities::File(_) => Followed::new("--trace-ca", path, MOST, given),
        Authorities::System(_) => Followed::new("the system's CAs", path, MOST, known),
    }
}

/// All of them count where somebody chose them.
fn given(pem: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in client_tls::certificates(pem)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(roots))
}

/// Among a system's there are old ones that nobody understands any more.
fn known(pem: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(client_tls::certificates(pem)?);
    if usable == 0 {
        return Err("there is no CA in it that could be used".to_owned());
    }
    Ok(Arc::new(roots))
}

fn hint(error: &std::io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => " (give the CA of its certificate by --trace-ca)",
        Some(rustls::Error::InvalidMessage(_)) => " (it speaks no TLS there; is it http://?)",
        _ => "",
    }
}

/// Bytes of a file of CAs.
const MOST: u64 = 4 * 1024 * 1024;
