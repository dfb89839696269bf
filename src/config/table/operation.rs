//! The options about how the process is run and watched.

use super::super::options::{Opt, list, opt, switch};

const HEADING: &str = "Operation";

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        HEADING,
        "admin",
        "ADDR",
        Some("127.0.0.1:9901"),
        "The admin plane: an address, or unix:/PATH for a socket of mode 0600. Off the loopback it needs --admin-token-file and --admin-tls",
    ),
    opt(
        HEADING,
        "admin-token-file",
        "FILE",
        None,
        "Whoever asks the admin plane needs a token of this file: lines of NAME read|write TOKEN, or one bare token, of 16 characters at least (openssl rand -hex 32); sha256:HEX may stand for one. Read again when it changes",
    ),
    switch(
        HEADING,
        "admin-tls",
        "Serve the admin plane over TLS, with the certificate that is served to clients",
    ),
    opt(
        HEADING,
        "admin-cert",
        "FILE",
        None,
        "Serve the admin plane over TLS with this certificate of its own; goes with --admin-key",
    ),
    opt(
        HEADING,
        "admin-key",
        "FILE",
        None,
        "The key of --admin-cert",
    ),
    opt(
        HEADING,
        "admin-client-ca",
        "FILE",
        None,
        "Whoever asks the admin plane over TLS needs a certificate of these CAs, too",
    ),
    list(
        HEADING,
        "admin-host",
        "NAME",
        None,
        "A host name under which the admin plane may be asked; addresses and localhost always are (protects against DNS rebinding)",
    ),
    opt(
        HEADING,
        "probe",
        "ADDR",
        Some("[::]:9902"),
        "The probe plane, read only: /livez, /readyz, /metrics, /app",
    ),
    opt(
        HEADING,
        "app-health",
        "PATH",
        None,
        "What /app asks the application, like /healthz: 200 where it answers 200 to 399. For probes of an application that is bound to the loopback, or behind required client certificates",
    ),
    switch(
        HEADING,
        "require-loopback-app",
        "Be ready only where the application cannot be reached past the sidecar: nothing listens on its port but on the loopback",
    ),
    opt(
        HEADING,
        "log-level",
        "FILTER",
        Some("info"),
        "The program's own log on stderr: error, warn, info, debug, or a filter like portcullis=debug",
    ),
    opt(
        HEADING,
        "drain-delay",
        "DURATION",
        Some("5s"),
        "After SIGTERM, go on accepting for so long while endpoints propagate",
    ),
    opt(
        HEADING,
        "drain-timeout",
        "DURATION",
        Some("20s"),
        "Then let requests finish for so long, then cut them",
    ),
    opt(
        HEADING,
        "grace-period",
        "DURATION",
        None,
        "The pod's terminationGracePeriodSeconds, so that `doctor` can tell whether a drain fits in; a bare number is seconds",
    ),
    opt(
        HEADING,
        "workers",
        "N",
        Some("auto"),
        "Worker threads; auto is one for each CPU the container may use",
    ),
    opt(
        HEADING,
        "config",
        "FILE",
        None,
        "A YAML file with the same names; flags and environment win over it",
    ),
];
