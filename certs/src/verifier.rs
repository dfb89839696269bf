//! Judging a client's certificate: rustls-webpki decides about chain, dates and CRLs, `--allow-san` about the name; and
//! whatever the answer, it can be told in words.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use crate::names::{alt_names, distinguished};
use crate::san::SanPattern;
use crate::trust::Trust;

/// Why a client's certificate was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedFor {
    /// Nobody we trust has issued it.
    UnknownIssuer,
    /// It, or one above it, is past its end.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// Its CRL names it.
    Revoked,
    /// No CRL says anything of its issuer, or the CRL is past its time.
    RevocationUnknown,
    /// It has none of the names of `--allow-san`.
    NameNotAllowed,
    /// Not for client authentication, X.509 v1, a bad signature, broken DER.
    Invalid,
}

/// A refusal in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind.
    pub why: RefusedFor,
    /// One sentence.
    pub detail: String,
}

thread_local! {
    /// What the last refusal on this thread was about. rustls' errors have no room for the words (nor may they be of a
    /// kind of ours: the alert that the client is sent follows from the kind). The verifier runs inside the poll that ends
    /// in the error, so that whoever gets the error finds its words here.
    static LAST: RefCell<Option<Refusal>> = const { RefCell::new(None) };
}

/// The words for the handshake error that this thread has just been given.
pub fn take_refusal() -> Option<Refusal> {
    LAST.take()
}

/// Verifies clients against one generation's trust.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    webpki: Arc<dyn ClientCertVerifier>,
    allow: Vec<SanPattern>,
    is_required: bool,
}

impl ClientVerifier {
    pub(crate) fn new(trust: &Trust, allow: &[SanPattern], is_required: bool) -> Self {
        Self {
            webpki: Arc::clone(&trust.verifier),
            allow: allow.to_vec(),
            is_required,
        }
    }

    /// Judges a chain as of now, leaf first.
    ///
    /// # Errors
    /// The refusal in words.
    pub(crate) fn verify_client(&self, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Ok(());
        };
        self.check(leaf, intermediates, UnixTime::now())
            .map(|_| ())
            .map_err(|error| explain(&error, leaf))
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.webpki.verify_client_cert(leaf, intermediates, now)?;
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let names = alt_names(&parsed);
        let is_allowed = |pattern: &SanPattern| names.iter().any(|name| pattern.allows(name));
        if self.allow.is_empty() || self.allow.iter().any(is_allowed) {
            Ok(verified)
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.check(leaf, intermediates, now);
        LAST.set(verified.as_ref().err().map(|error| explain(error, leaf)));
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

fn explain(error: &Error, leaf: &CertificateDer<'_>) -> Refusal {
    let parsed = X509Certificate::from_der(leaf).ok();
    let parsed = parsed.as_ref().map(|(_, parsed)| parsed);
    let name =
        |name: fn(&X509Certificate<'_>) -> String| parsed.map_or_else(|| "?".to_owned(), name);
    let who = name(|parsed| distinguished(parsed.subject()));
    if parsed.is_some_and(|parsed| parsed.version() == X509Version::V1) {
        return Refusal {
            why: RefusedFor::Invalid,
            detail: format!(
                "the client certificate {who} is X.509 v1; it must be v3 (openssl x509 -req needs -extfile)"
            ),
        };
    }
    let (why, detail) = match error {
        Error::InvalidCertificate(error) => {
            let issuer = name(|parsed| distinguished(parsed.issuer()));
            words_for(error, &who, &issuer, parsed)
        }
        error => (
            RefusedFor::Invalid,
            format!("the client certificate {who} was refused: {error}"),
        ),
    };
    Refusal { why, detail }
}

fn words_for(
    error: &CertificateError,
    who: &str,
    issuer: &str,
    leaf: Option<&X509Certificate<'_>>,
) -> (RefusedFor, String) {
    use CertificateError as E;
    match error {
        E::UnknownIssuer => (
            RefusedFor::UnknownIssuer,
            format!("unknown CA: issuer={issuer} of the client certificate {who}"),
        ),
        E::Expired | E::ExpiredContext { .. } => (
            RefusedFor::Expired,
            match leaf
                .map(|leaf| leaf.validity().not_after.to_datetime())
                .filter(|at| *at < OffsetDateTime::now_utc())
            {
                Some(at) => format!("the client certificate {who} expired at {at}"),
                None => format!("a CA above the client certificate {who} has expired"),
            },
        ),
        E::NotValidYet | E::NotValidYetContext { .. } => (
            RefusedFor::NotYetValid,
            format!("the client certificate {who} is not valid yet (is its clock or ours wrong?)"),
        ),
        E::Revoked => (
            RefusedFor::Revoked,
            format!("the client certificate {who} is revoked"),
        ),
        E::UnknownRevocationStatus => (
            RefusedFor::RevocationUnknown,
            format!(
                "no CRL covers the client certificate {who}: --client-crl needs one of {issuer} and of every CA above it"
            ),
        ),
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => (
            RefusedFor::RevocationUnknown,
            format!("the CRL that covers the client certificate {who} is past its nextUpdate"),
        ),
        E::ApplicationVerificationFailure => {
            let names = leaf.map(alt_names).unwrap_or_default();
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            let names = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            (
                RefusedFor::NameNotAllowed,
                format!(
                    "the client certificate {who} has no name that --allow-san allows (its names: {names})"
                ),
            )
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => (
            RefusedFor::Invalid,
            format!(
                "the client certificate {who} is not for client authentication (extended key usage)"
            ),
        ),
        error => (
            RefusedFor::Invalid,
            format!("the client certificate {who} was refused: {error}"),
        ),
    }
}
