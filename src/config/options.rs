//! Every option once: this table makes the flags, their environment twins, the keys of the file, the help text and the
//! output of `check`.

/// One option.
#[derive(Debug)]
pub struct Opt {
    /// The flag without its dashes; also the key in the file.
    pub name: &'static str,
    /// What a value looks like in the help; `None` for a switch.
    pub value: Option<&'static str>,
    /// What holds when nobody says anything.
    pub default: Option<&'static str>,
    /// The value of the bare flag, where that is allowed.
    pub bare: Option<&'static str>,
    /// The heading in the help.
    pub heading: &'static str,
    /// One or two sentences.
    pub help: &'static str,
}

impl Opt {
    /// The environment twin.
    pub fn env(&self) -> String {
        format!(
            "PORTCULLIS_{}",
            self.name.to_ascii_uppercase().replace('-', "_")
        )
    }
}

const fn opt(
    heading: &'static str,
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Opt {
    Opt {
        name,
        value: Some(value),
        default,
        bare: None,
        heading,
        help,
    }
}

const TRAFFIC: &str = "Traffic";
const TLS: &str = "Certificates and TLS";
const OPERATION: &str = "Operation";
const LIMITS: &str = "Limits";

/// The table.
pub static OPTIONS: &[Opt] = &[
    opt(
        TRAFFIC,
        "target",
        "URL",
        Some("http://127.0.0.1:8080"),
        "The application: http://HOST:PORT, HOST:PORT or unix:/PATH. localhost means both loopbacks, the one that answers wins. TARGET in the environment means the same",
    ),
    Opt {
        name: "allow-remote-target",
        value: None,
        default: Some("false"),
        bare: None,
        heading: TRAFFIC,
        help: "Allow a target that is not on the loopback: plain HTTP then leaves the pod",
    },
    opt(
        TRAFFIC,
        "listen",
        "ADDR",
        Some("[::]:8443"),
        "The HTTPS listener; [::] is dual stack. PORT in the environment sets its port",
    ),
    opt(
        TRAFFIC,
        "redirect",
        "ADDR",
        None,
        "Also listen for plain HTTP here and answer 308 to https://",
    ),
    opt(
        TRAFFIC,
        "redirect-port",
        "PORT",
        Some("443"),
        "The public HTTPS port that redirects name",
    ),
    Opt {
        name: "hsts",
        value: Some("DURATION"),
        default: None,
        bare: Some("365d"),
        heading: TRAFFIC,
        help: "Send Strict-Transport-Security on answers (max-age 365d when no DURATION is given)",
    },
    opt(
        TRAFFIC,
        "service-name",
        "NAME",
        None,
        "The name in every record; default $HOSTNAME. SRV_NAME in the environment means the same",
    ),
    opt(
        TLS,
        "cert-dir",
        "DIR",
        Some("/etc/portcullis/tls"),
        "A mounted kubernetes.io/tls Secret with tls.crt and tls.key",
    ),
    opt(
        TLS,
        "cert",
        "FILE",
        None,
        "The certificate chain as a PEM file, leaf first; needs --key and switches --cert-dir off",
    ),
    opt(TLS, "key", "FILE", None, "The private key as a PEM file"),
    opt(
        TLS,
        "tls-min",
        "VERSION",
        Some("1.2"),
        "The lowest TLS version spoken: 1.2 or 1.3",
    ),
    opt(
        OPERATION,
        "admin",
        "ADDR",
        Some("127.0.0.1:9901"),
        "The admin plane; loopback only",
    ),
    opt(
        OPERATION,
        "probe",
        "ADDR",
        Some("[::]:9902"),
        "The probe plane, read only: /livez, /readyz, /metrics",
    ),
    opt(
        OPERATION,
        "log-format",
        "FORMAT",
        Some("json"),
        "How records are written to stdout: json",
    ),
    opt(
        OPERATION,
        "log-level",
        "FILTER",
        Some("info"),
        "The program's own log on stderr: error, warn, info, debug, or a filter like portcullis=debug",
    ),
    opt(
        OPERATION,
        "ring",
        "N",
        Some("1000"),
        "Recent records kept for /logs",
    ),
    opt(
        OPERATION,
        "drain-delay",
        "DURATION",
        Some("5s"),
        "After SIGTERM, go on accepting for so long while endpoints propagate",
    ),
    opt(
        OPERATION,
        "drain-timeout",
        "DURATION",
        Some("20s"),
        "Then let requests finish for so long, then cut them",
    ),
    opt(
        OPERATION,
        "workers",
        "N",
        Some("auto"),
        "Worker threads; auto is one for each CPU the container may use",
    ),
    opt(
        OPERATION,
        "config",
        "FILE",
        None,
        "A YAML file with the same names; flags and environment win over it",
    ),
    opt(
        LIMITS,
        "handshake-timeout",
        "DURATION",
        Some("10s"),
        "For the whole TLS handshake, from accept",
    ),
    opt(
        LIMITS,
        "head-timeout",
        "DURATION",
        Some("30s"),
        "For a request head, from its first byte",
    ),
    opt(
        LIMITS,
        "idle-timeout",
        "DURATION",
        Some("75s"),
        "Between two requests on one connection",
    ),
    opt(LIMITS, "max-head", "SIZE", Some("64KiB"), "A request head"),
    opt(LIMITS, "max-uri", "SIZE", Some("16KiB"), "A request target"),
    opt(
        LIMITS,
        "connect-timeout",
        "DURATION",
        Some("3s"),
        "One attempt to connect to the application",
    ),
    opt(
        LIMITS,
        "connect-retry-for",
        "DURATION",
        Some("2s"),
        "How long to go on trying while the application refuses connections",
    ),
    opt(
        LIMITS,
        "response-timeout",
        "DURATION",
        Some("60s"),
        "From the request to the head of the application's response",
    ),
    opt(
        LIMITS,
        "pool-idle",
        "DURATION",
        Some("4s"),
        "How long a connection to the application may lie unused; keep it below the application's own keep-alive limit",
    ),
    opt(
        LIMITS,
        "h2-streams",
        "N",
        Some("100"),
        "Concurrent HTTP/2 streams on one connection",
    ),
    opt(
        LIMITS,
        "h2-window",
        "SIZE",
        Some("256KiB"),
        "HTTP/2 receive window of one stream",
    ),
    opt(
        LIMITS,
        "h2-header-list",
        "SIZE",
        Some("32KiB"),
        "HTTP/2 decoded header list",
    ),
    opt(
        LIMITS,
        "max-connections",
        "N",
        Some("auto"),
        "Client connections open at once; auto is the lesser of 10000 and what the file descriptor limit leaves",
    ),
];

/// The names of the sidecar pattern's original manifest, and what they set.
pub(super) static LEGACY: &[(&str, &str)] = &[
    ("TARGET", "target"),
    ("PORT", "listen"),
    ("SRV_NAME", "service-name"),
];
