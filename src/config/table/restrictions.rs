//! The options about what the process gives up.

use super::super::options::{Opt, switch};

const HEADING: &str = "Self-restriction";

pub(super) static OPTIONS: &[Opt] = &[
    switch(
        HEADING,
        "no-landlock",
        "Do not restrict the process to the files it needs (and to the port of a --target-locked)",
    ),
    switch(
        HEADING,
        "no-seccomp",
        "Do not deny the process the system calls that it has no use for, like exec and ptrace",
    ),
    switch(
        HEADING,
        "dumpable",
        "Allow core dumps and debuggers; both can carry the private key away",
    ),
    switch(
        HEADING,
        "allow-new-privileges",
        "Do not set no_new_privs; needs --no-landlock and --no-seccomp",
    ),
];
