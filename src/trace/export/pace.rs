//! How long each part of an export may take, in one place so that tests can be in a hurry.

use std::time::Duration;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between two looks into the lanes.
    pub(super) every: Duration,
    /// From a name to a connection, TLS included.
    pub(super) connect: Duration,
    /// One request and its answer, connection included. OTLP's default.
    pub(super) export: Duration,
    /// Between two tries: the first, the longest.
    pub(super) pause: (Duration, Duration),
    /// For what is left at the end.
    pub(super) last: Duration,
}

/// What holds outside of tests.
pub(super) const PACE: Pace = Pace {
    every: Duration::from_secs(1),
    connect: Duration::from_secs(3),
    export: Duration::from_secs(10),
    pause: (Duration::from_secs(1), Duration::from_secs(30)),
    last: Duration::from_secs(1),
};
