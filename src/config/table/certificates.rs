//! The options about certificates, theirs and ours, and TLS.

use super::super::options::{Opt, list, opt, switch};

const HEADING: &str = "Certificates and TLS";

pub(super) static OPTIONS: &[Opt] = &[
    list(
        HEADING,
        "cert-dir",
        "DIR",
        Some("/etc/portcullis/tls"),
        "A mounted kubernetes.io/tls Secret with tls.crt, tls.key and perhaps ca.crt. Several are chosen from by the name the client asks for (SNI); the first is shown to all others",
    ),
    opt(
        HEADING,
        "cert",
        "FILE",
        None,
        "The certificate chain as a PEM file, leaf first; needs --key and switches --cert-dir off",
    ),
    opt(
        HEADING,
        "key",
        "FILE",
        None,
        "The private key as a PEM file",
    ),
    opt(
        HEADING,
        "tls-profile",
        "PROFILE",
        Some("intermediate"),
        "Mozilla's profile: intermediate (TLS 1.2 and 1.3) or modern (TLS 1.3 only)",
    ),
    opt(
        HEADING,
        "tls-min",
        "VERSION",
        None,
        "The lowest TLS version spoken, 1.2 or 1.3; default: that of the profile",
    ),
    opt(
        HEADING,
        "ticket-seed",
        "FILE",
        None,
        "At least 32 random bytes that replicas share, so that they resume each other's TLS sessions; without it the keys are this process's own",
    ),
    opt(
        HEADING,
        "client-auth",
        "MODE",
        Some("off"),
        "Whether clients are asked for a certificate: off, optional or required. One that is shown and refused ends the handshake in any case",
    ),
    opt(
        HEADING,
        "client-ca",
        "FILE",
        None,
        "The CAs that clients' certificates must come from, PEM; default: ca.crt in the first --cert-dir",
    ),
    opt(
        HEADING,
        "client-crl",
        "FILE",
        None,
        "Revoked client certificates: one CRL for each client CA, PEM, or a single one in DER",
    ),
    list(
        HEADING,
        "allow-san",
        "PATTERN",
        None,
        "Let in only clients with one of these names: DNS:*.corp.example, URI:spiffe://corp.example/ns/*/sa/web, email:*@corp.example, IP:10.0.0.0/8; * stands for a part of one label or path segment",
    ),
    list(
        HEADING,
        "client-auth-exempt",
        "PATH",
        None,
        "With --client-auth required: exactly this path is open to clients without a certificate; every other is answered 403",
    ),
    switch(
        HEADING,
        "close-on-trust-change",
        "When client CA or CRL change, end connections whose client would not be let in any more",
    ),
];
