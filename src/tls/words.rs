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
        rustls::Error::PeerIncompatible(why) => {
            (Reason::NothingInCommon, too_different(why, hello))
        }
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
        rustls::Error::PeerMisbehaved(why) => (
            Reason::HandshakeFailed,
            format!("the client breaks the rules of TLS: {why:?}"),
        ),
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

/// rustls looks at other things before the version, which is what an old client really lacks.
fn too_different(why: &PeerIncompatible, hello: &Hello) -> String {
    let newest = hello.legacy_version();
    let what = match (why, newest) {
        (_, Some(newest @ ("SSL 3.0" | "TLS 1.0" | "TLS 1.1")))
        | (PeerIncompatible::SupportedVersionsExtensionRequired, Some(newest)) => {
            return format!("the client offered only {newest}, which is below --tls-min");
        }
        (
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
            _,
        ) => return "the client offered only versions of TLS below --tls-min".to_owned(),
        (PeerIncompatible::NoCipherSuitesInCommon, _) => "no cipher suite in common".to_owned(),
        (PeerIncompatible::NoKxGroupsInCommon, _) => "no key exchange group in common".to_owned(),
        (PeerIncompatible::NoSignatureSchemesInCommon, _) => {
            "no signature scheme in common that fits our certificate".to_owned()
        }
        (why, _) => format!("nothing in common: {why:?}"),
    };
    format!("client and server have {what}")
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
