//! What the process would give up before it serves, and which files it would keep to.

use super::Remark;
use crate::config::Config;
use crate::restrict::{Use, rules};

/// A line for each restriction.
pub(super) fn of(config: &Config) -> Vec<Remark> {
    let wanted = config.restrictions;
    let mut remarks = vec![
        either(
            wanted.no_new_privileges,
            "new privileges: no program that it could start would gain any",
            "new privileges are not given up (--allow-new-privileges)",
        ),
        either(
            wanted.not_dumpable,
            "core dumps and ptrace by the same user",
            "core dumps and debuggers are allowed, and can carry the private key away (--dumpable)",
        ),
        either(
            wanted.seccomp,
            "system calls that it has no use for (seccomp)",
            "no system call is denied (--no-seccomp)",
        ),
        either(
            wanted.landlock,
            "all files but these, and new listeners (Landlock, where the kernel has it; /status says so)",
            "any file may be opened (--no-landlock)",
        ),
    ];
    if wanted.landlock {
        remarks.extend(rules(config, None).iter().map(|rule| {
            let usage = match rule.usage {
                Use::Read => "read",
                Use::Write => "written to",
                Use::Remove => "cleared of its socket",
            };
            Remark::Fact(format!("  {} is {usage}", rule.path.display()))
        }));
    }
    if config.target_locked {
        remarks.push(Remark::Fact(
            "a change of the target, and connections to other ports (--target-locked)".to_owned(),
        ));
    }
    remarks
}

fn either(holds: bool, fact: &str, warning: &str) -> Remark {
    if holds {
        Remark::Fact(fact.to_owned())
    } else {
        Remark::Warning(warning.to_owned())
    }
}
