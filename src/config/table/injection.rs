//! The options about what is injected, and those of the sidecar that an admission webhook has no use for.

use super::super::options::{Opt, list};

pub(super) static OPTIONS: &[Opt] = &[list(
    "Injection",
    "inject",
    "NAME=VALUE",
    None,
    "The default of a setting, like tls-secret=app-tls or mode=classic: what the annotation portcullis.dev/NAME of a pod says wins. NAME is any of the settings of `portcullis inject`",
)];

/// The application is built in, and nothing goes by a plain HTTP listener of its own.
pub(super) static SETTLED: &[&str] = &[
    "allow-remote-target",
    "app-health",
    "fix-redirects",
    "header-case",
    "hsts",
    "redirect",
    "redirect-exempt",
    "redirect-port",
    "require-loopback-app",
    "target",
    "target-locked",
];
