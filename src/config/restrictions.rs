//! The part of the configuration that is about what the process gives up.

use super::build::Fields;
use super::parse;

/// What the process gives up before it serves; all of it, unless a flag says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Restrictions {
    /// No privileges through `exec`.
    pub no_new_privileges: bool,
    /// No core dump, and no `ptrace` by the same user.
    pub not_dumpable: bool,
    /// Files and ports by Landlock.
    pub landlock: bool,
    /// System calls by seccomp.
    pub seccomp: bool,
}

pub(super) fn read(fields: &mut Fields<'_>) -> Option<Restrictions> {
    let restrictions = Restrictions {
        no_new_privileges: !fields.parse("allow-new-privileges", parse::switch)?,
        not_dumpable: !fields.parse("dumpable", parse::switch)?,
        landlock: !fields.parse("no-landlock", parse::switch)?,
        seccomp: !fields.parse("no-seccomp", parse::switch)?,
    };
    if !restrictions.no_new_privileges && (restrictions.landlock || restrictions.seccomp) {
        fields.mistakes.push(
            "--allow-new-privileges without --no-landlock and --no-seccomp: the kernel lets only those restrict themselves who give up new privileges"
                .to_owned(),
        );
    }
    Some(restrictions)
}
