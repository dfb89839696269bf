//! What a failed handshake was about: a reason, and a sentence.

use std::io;

use portcullis_certs::{Generation, Refusal, RefusedFor, take_refusal};
use rustls::{AlertDescription, PeerIncompatible};

use super::hello::Hello;
use crate::failure::Reason;

/// What a failed handshake was about, in words.
pub(super) fn sort(error: &io::Error, generation: &Generation, hello: &Hello) -> (Reason, String) {
    let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        return (
            Reason::HandshakeGone,
            format!("the client ended the connection in the handshake ({error})"),
        );
    };
    match tls {
        rustls::Error::InvalidMessage(_) => (
            Reason::NotTls,
            format!("the client did not speak TLS ({tls})"),
        ),
        rustls::Error::AlertReceived(alert) => (Reason::ClientAlert, alert_in_words(*alert)),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => (Reason::NothingInCommon, too_old(hello.legacy_version())),
        rustls::Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled) => {
            (Reason::NothingInCommon, too_old(None))
        }
        rustls::Error::PeerIncompatible(why) => (
            Reason::NothingInCommon,
            format!("client and server have nothing in common: {why:?}"),
        ),
        rustls::Error::NoApplicationProtocol => (
            Reason::NothingInCommon,
            "the client offered neither h2 nor http/1.1 nor http/1.0 (ALPN)".to_owned(),
        ),
        // rustls has no kind of its own for it, and no other error of this kind is known here.
        rustls::Error::General(_) if !generation.is_complete() => (
            Reason::NoCertificate,
            if generation.lacks_trust() {
                "there is no client CA yet, so nobody is let in".to_owned()
            } else if generation.has_certificate() {
                "the certificate for this name is not there yet".to_owned()
            } else {
                "there is no certificate to present yet".to_owned()
            },
        ),
        rustls::Error::NoCertificatesPresented => (
            Reason::ClientCertificateMissing,
            "the client showed no certificate, and --client-auth is required".to_owned(),
        ),
        rustls::Error::InvalidCertificate(why) => match take_refusal() {
            Some(refusal) => refused_client(refusal),
            None => (Reason::ClientCertificateInvalid, why.to_string()),
        },
        _ => (Reason::HandshakeFailed, tls.to_string()),
    }
}

pub(super) fn refused_client(refusal: Refusal) -> (Reason, String) {
    let reason = match refusal.why {
        RefusedFor::UnknownIssuer => Reason::ClientIssuerUnknown,
        RefusedFor::Expired => Reason::ClientCertificateExpired,
        RefusedFor::NotYetValid => Reason::ClientCertificateNotYetValid,
        RefusedFor::Revoked => Reason::ClientCertificateRevoked,
        RefusedFor::RevocationUnknown => Reason::ClientRevocationUnknown,
        RefusedFor::NameNotAllowed => Reason::ClientNameNotAllowed,
        RefusedFor::Invalid => Reason::ClientCertificateInvalid,
    };
    (reason, refusal.detail)
}

/// A client that lists no versions offers none above the `newest` it names.
fn too_old(newest: Option<&str>) -> String {
    format!(
        "the client offered only {}, which is below --tls-min",
        newest.unwrap_or("old versions of TLS")
    )
}

fn alert_in_words(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::UnknownCA => "the client does not know the CA of our certificate",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "the client refused our certificate"
        }
        AlertDescription::CertificateExpired => "the client finds our certificate expired",
        AlertDescription::ProtocolVersion => "the client refused the TLS version",
        _ => "the client ended the handshake",
    };
    format!("{why} (alert {alert:?})")
}
