//! The options about waits and sizes.

use super::super::options::{Opt, opt};

const HEADING: &str = "Limits";

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        HEADING,
        "handshake-timeout",
        "DURATION",
        Some("10s"),
        "For the whole TLS handshake, from accept",
    ),
    opt(
        HEADING,
        "head-timeout",
        "DURATION",
        Some("30s"),
        "For a request head, from its first byte",
    ),
    opt(
        HEADING,
        "idle-timeout",
        "DURATION",
        Some("75s"),
        "Between two requests on one connection",
    ),
    opt(HEADING, "max-head", "SIZE", Some("64KiB"), "A request head"),
    opt(
        HEADING,
        "max-uri",
        "SIZE",
        Some("16KiB"),
        "A request target",
    ),
    opt(
        HEADING,
        "connect-timeout",
        "DURATION",
        Some("3s"),
        "One attempt to connect to the application",
    ),
    opt(
        HEADING,
        "connect-retry-for",
        "DURATION",
        Some("2s"),
        "How long to go on trying while the application refuses connections",
    ),
    opt(
        HEADING,
        "response-timeout",
        "DURATION",
        Some("60s"),
        "From the request to the head of the application's response",
    ),
    opt(
        HEADING,
        "pool-idle",
        "DURATION",
        Some("4s"),
        "How long a connection to the application may lie unused; keep it below the application's own keep-alive limit",
    ),
    opt(
        HEADING,
        "h2-streams",
        "N",
        Some("100"),
        "Concurrent HTTP/2 streams on one connection",
    ),
    opt(
        HEADING,
        "h2-window",
        "SIZE",
        Some("256KiB"),
        "HTTP/2 receive window of one stream",
    ),
    opt(
        HEADING,
        "h2-header-list",
        "SIZE",
        Some("32KiB"),
        "HTTP/2 decoded header list",
    ),
    opt(
        HEADING,
        "spool",
        "SIZE",
        Some("64KiB"),
        "Of an HTTP/2 request body without a length so much is gathered, for 100 ms at most, so that an HTTP/1 application is told one; 0 is off",
    ),
    opt(
        HEADING,
        "max-connection-age",
        "DURATION",
        Some("0"),
        "After so long (give or take a tenth) a connection is told to go and come back, on the new certificate; 0 is never",
    ),
    opt(
        HEADING,
        "max-connections",
        "N",
        Some("auto"),
        "Client connections open at once; auto is the lesser of 10000 and what the file descriptor limit leaves",
    ),
];
