//! Every option once: these tables make the flags, their environment twins, the keys of the file, the help text and the
//! output of `check`.

mod certificates;
mod limits;
mod operation;
mod records;
mod restrictions;
mod traffic;

use super::options::Opt;

/// All options, in the order of the help.
pub fn options() -> impl Iterator<Item = &'static Opt> {
    let tables = [
        traffic::OPTIONS,
        certificates::OPTIONS,
        records::OPTIONS,
        operation::OPTIONS,
        limits::OPTIONS,
        restrictions::OPTIONS,
    ];
    tables.into_iter().flatten()
}
