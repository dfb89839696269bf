//! Looking at what is served with a client's eyes: dial the own listener, and compare the leaf it shows.
//!
//! HAProxy once updated every certificate but the one it served by default (haproxy/haproxy#1143), and said it was done.

use std::any::Any;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error,
    SignatureAlgorithm, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::attempt::Confirmation;
use crate::bundle::Bundle;
use crate::crypto::{hex, provider, sha256};
use crate::generation::Generation;

/// A way to the own listener.
pub trait OwnListener: Send + Sync {
    /// Connects. The listener must know the connection for ours: it leaves no record and counts against no limit for as
    /// long as the guard lives.
    ///
    /// # Errors
    /// What the system says.
    fn dial(&self) -> io::Result<(TcpStream, Box<dyn Any + Send>)>;
}

/// Dials for each name of the certificate at `place` until it is seen, or it is clear that it is not.
pub(crate) fn confirm(
    listener: &dyn OwnListener,
    place: usize,
    generation: &Generation,
    current: impl Fn() -> Arc<Generation>,
) -> Confirmation {
    let Some(Some(bundle)) = generation.certificates.get(place) else {
        return Confirmation::Unverified("nothing was published".to_owned());
    };
    let mut seen = Confirmation::Unverified("it has no name a client could ask for".to_owned());
    for name in names(bundle, place == 0) {
        seen = match served(listener, bundle, name) {
            Ok(sha256) if sha256 == bundle.leaf().sha256 => return Confirmation::Served,
            Err(error) => return Confirmation::Unverified(error.to_string()),
            // The attempt behind that one looks for itself.
            Ok(_) if is_replaced(bundle, current().certificates.get(place)) => {
                let why = "replaced by a newer one meanwhile";
                return Confirmation::Unverified(why.to_owned());
            }
            Ok(sha256) if is_shown_instead(&current(), bundle, &sha256) => {
                Confirmation::Unverified(
                    "another certificate of ours has the same names and is shown first".to_owned(),
                )
            }
            Ok(sha256) => return Confirmation::Differs(sha256),
        };
    }
    seen
}

fn is_replaced(bundle: &Bundle, now: Option<&Option<Arc<Bundle>>>) -> bool {
    let now = now.and_then(Option::as_ref);
    now.is_none_or(|now| now.leaf().sha256 != bundle.leaf().sha256)
}

/// What a client might ask for to be shown this certificate.
fn names(bundle: &Bundle, is_default: bool) -> Vec<ServerName<'static>> {
    // The default is for those, too, who ask for no name: an address is none.
    let nameless = is_default.then(|| ServerName::from(std::net::IpAddr::from([127, 0, 0, 1])));
    let named = bundle.leaf().dns_names().filter_map(|name| {
        let name = match name.strip_prefix("*.") {
            Some(parent) => format!("portcullis-looks.{parent}"),
            None if name.contains('*') => return None,
            None => name.to_owned(),
        };
        ServerName::try_from(name).ok()
    });
    named.take(MOST_NAMES).chain(nameless).collect()
}

/// Whether the other certificate comes first for the name that was asked for.
fn is_shown_instead(generation: &Generation, bundle: &Bundle, sha256: &str) -> bool {
    let mut others = generation.certificates.iter().flatten();
    let same_name = |other: &Bundle| {
        bundle.leaf().dns_names().any(|name| {
            other
                .leaf()
                .dns_names()
                .any(|its| its.eq_ignore_ascii_case(name))
        })
    };
    others.any(|other| other.leaf().sha256 == sha256 && same_name(other))
}

/// The SHA-256 of the leaf that a client is shown who asks for this name and can verify the bundle's kind of key.
fn served(
    listener: &dyn OwnListener,
    bundle: &Bundle,
    name: ServerName<'static>,
) -> io::Result<String> {
    let (mut stream, _guard) = listener.dial()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let eyes = Arc::new(Onlooker {
        schemes: schemes(bundle.pair.key.algorithm()),
        seen: Mutex::default(),
    });
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&eyes) as _)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let mut client = ClientConnection::new(config.into(), name).map_err(io::Error::other)?;
    // The eyes refuse what they have seen, so that this ends in an error when all is well.
    let ended = client.complete_io(&mut stream);
    let seen = eyes
        .seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    match (seen, ended) {
        (Some(sha256), _) => Ok(sha256),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(io::Error::other("no certificate was shown")),
    }
}

/// Takes down the leaf that is shown and ends the handshake: there is nothing to say on this connection, and a client
/// certificate that might be asked for is not there.
#[derive(Debug)]
struct Onlooker {
    /// Only those of the bundle's own kind, so that of RSA and ECDSA side by side the right one is shown.
    schemes: Vec<SignatureScheme>,
    seen: Mutex<Option<String>>,
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(hex(&sha256(&[leaf])));
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("looking only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("looking only".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

fn schemes(algorithm: SignatureAlgorithm) -> Vec<SignatureScheme> {
    match algorithm {
        SignatureAlgorithm::RSA => vec![
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
        ],
        SignatureAlgorithm::ED25519 => vec![SignatureScheme::ED25519],
        _ => vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
        ],
    }
}

/// For one step of the handshake with a listener on the same machine.
const PATIENCE: Duration = Duration::from_secs(2);
/// A certificate may have hundreds.
const MOST_NAMES: usize = 8;
