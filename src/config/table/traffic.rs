//! The options about where requests come from and go to.

use super::super::options::{Opt, list, opt, switch};

const HEADING: &str = "Traffic";

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        HEADING,
        "target",
        "URL",
        Some("http://127.0.0.1:8080"),
        "The application: http://HOST:PORT, HOST:PORT, unix:/PATH, or h2c://HOST:PORT for HTTP/2 in clear (gRPC). localhost means both loopbacks, the one that answers wins. TARGET in the environment means the same",
    ),
    switch(
        HEADING,
        "allow-remote-target",
        "Allow a target that is not on the loopback: plain HTTP then leaves the pod",
    ),
    switch(
        HEADING,
        "target-locked",
        "The target stays as it is configured: the admin plane refuses to change it, and where the kernel can (Landlock), the process makes TCP connections to no other port but its own (and 53, for a target with a name)",
    ),
    opt(
        HEADING,
        "listen",
        "ADDR",
        Some("[::]:8443"),
        "The HTTPS listener; [::] is dual stack. PORT in the environment sets its port",
    ),
    opt(
        HEADING,
        "redirect",
        "ADDR",
        None,
        "Also listen for plain HTTP here and answer 308 to https://",
    ),
    opt(
        HEADING,
        "redirect-port",
        "PORT",
        Some("443"),
        "The public HTTPS port that redirects name",
    ),
    list(
        HEADING,
        "redirect-exempt",
        "PATH",
        None,
        "The --redirect listener answers exactly this path with 200, for load balancers; /.well-known/acme-challenge/ lets the tokens below it through to the application",
    ),
    list(
        HEADING,
        "allow-client",
        "CIDR",
        None,
        "Serve only clients from these networks; others are closed at accept and counted",
    ),
    list(
        HEADING,
        "trusted-proxy",
        "CIDR",
        None,
        "Believe what these say of the client in X-Forwarded-*, Forwarded and X-Request-Id; the client is the first address from the right that is not one of them",
    ),
    switch(
        HEADING,
        "proxy-protocol",
        "Connections from --trusted-proxy begin with a PROXY header, version 1 or 2",
    ),
    opt(
        HEADING,
        "header-case",
        "CASE",
        Some("original"),
        "Field names in HTTP/1: original, as the other side wrote them, and Title-Case where nobody did; or lower",
    ),
    switch(
        HEADING,
        "fix-redirects",
        "Rewrite redirects of the application to http:// on the very authority that was asked for to https://, and add Secure to its cookies",
    ),
    Opt {
        bare: Some("365d"),
        ..opt(
            HEADING,
            "hsts",
            "DURATION",
            None,
            "Send Strict-Transport-Security on answers (max-age 365d when no DURATION is given)",
        )
    },
    opt(
        HEADING,
        "service-name",
        "NAME",
        None,
        "The name in every record; default $HOSTNAME. SRV_NAME in the environment means the same",
    ),
];
