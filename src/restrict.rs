//! Giving up what is not needed. Called in `main` between binding and the first thread, because restrictions bind the
//! calling thread and those it starts later.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;

/// No new privileges through `exec`, and no core dump or `ptrace` that could carry the private key away. A kernel that
/// refuses is reported, not fatal.
pub fn restrict() {
    let given_up = [
        ("no_new_privs", set_no_new_privs(true)),
        (
            "not dumpable",
            set_dumpable_behavior(DumpableBehavior::NotDumpable),
        ),
    ];
    for (what, outcome) in given_up {
        if let Err(error) = outcome {
            tracing::warn!(%error, "the kernel refused: {what}");
        }
    }
}
