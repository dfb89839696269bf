//! Giving up what is not needed. Called in `main` between binding and the first thread, because restrictions bind the
//! calling thread and those it starts later.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;

/// No new privileges through `exec`, and no core dump or `ptrace` that could carry the private key away. A kernel that
/// refuses is reported, not fatal.
///
/// Returns what was refused, in words: nobody can be told yet, because the log has a thread of its own.
pub fn restrict() -> Vec<String> {
    let given_up = [
        ("incapable of gaining privileges", set_no_new_privs(true)),
        (
            "not dumpable",
            set_dumpable_behavior(DumpableBehavior::NotDumpable),
        ),
    ];
    given_up
        .into_iter()
        .filter_map(|(what, outcome)| {
            outcome
                .err()
                .map(|error| format!("the kernel refused to make the process {what}: {error}"))
        })
        .collect()
}
