//! Every option once: these tables make the flags, their environment twins, the keys of the file, the help text and the
//! output of `check`.

mod certificates;
mod injection;
mod limits;
mod operation;
mod records;
mod restrictions;
mod traces;
mod traffic;

use super::options::Opt;

/// All options, in the order of the help.
pub fn options() -> impl Iterator<Item = &'static Opt> {
    let tables = [
        traffic::OPTIONS,
        certificates::OPTIONS,
        records::OPTIONS,
        traces::OPTIONS,
        operation::OPTIONS,
        limits::OPTIONS,
        restrictions::OPTIONS,
    ];
    tables.into_iter().flatten()
}

/// What only `webhook` takes.
pub(super) fn injection() -> impl Iterator<Item = &'static Opt> {
    injection::OPTIONS.iter()
}

/// The options of `webhook`: those of the sidecar, but for what has to do with an application that is not its own.
pub(super) fn webhook() -> impl Iterator<Item = &'static Opt> {
    let is_open = |opt: &&Opt| !injection::SETTLED.contains(&opt.name);
    injection().chain(options().filter(is_open))
}
