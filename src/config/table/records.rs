//! The options about records: how they are written, where to, and what of them.

use super::super::options::{Opt, list, opt, switch};

const HEADING: &str = "Records";

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        HEADING,
        "log-format",
        "FORMAT",
        Some("auto"),
        "How records are written: json; combined, as Apache and nginx do; text, for people; auto is text on a terminal, else json",
    ),
    opt(
        HEADING,
        "log-file",
        "FILE",
        None,
        "Append records to this file instead of stdout; SIGUSR1 opens it again",
    ),
    opt(
        HEADING,
        "log-sample",
        "SHARE",
        Some("1"),
        "Write only this share of the exchanges that went well, like 0.1 or 10%; /logs and metrics still have all",
    ),
    opt(
        HEADING,
        "slow",
        "DURATION",
        Some("1s"),
        "An exchange that took so long is kept and written like one that failed",
    ),
    switch(
        HEADING,
        "log-query",
        "Write the query of the request: it may hold credentials",
    ),
    list(
        HEADING,
        "log-header",
        "NAME",
        None,
        "Write this field of the request, too",
    ),
    Opt {
        commas: false,
        ..list(
            HEADING,
            "redact",
            "REGEX",
            None,
            "Write [redacted] where this matches in what a client says: host, path, query, fields, names in its certificate",
        )
    },
    opt(
        HEADING,
        "ring",
        "N",
        Some("1000"),
        "Recent records kept for /logs, and as many KiB at most; a quarter is reserved for failures, a quarter for what clients did wrong",
    ),
];
