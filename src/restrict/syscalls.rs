//! seccomp: system calls that the sidecar has no use for, and that whoever takes it over would have. A list of what is denied
//! and not of what is allowed: a new C library may need a call that nobody has thought of, and a legacy application's TLS is
//! not to end for that. What is denied fails with an errno; the process is not killed.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use super::{Restriction, State};

/// Denies them to the calling thread and all that it starts.
pub(super) fn deny() -> Restriction {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        let detail = format!("no filter for {}", std::env::consts::ARCH);
        return Restriction::new(NAME, State::Unavailable, detail);
    };
    let denied = numbers(DENIED.iter().chain(OF_THIS_ARCH));
    let count = DENIED.len() + OF_THIS_ARCH.len();
    let applied = refuse(denied.chain(namespaces()), libc::EPERM, arch)
        // The C library then uses clone, whose flags a filter can see.
        .and_then(|()| refuse(numbers(&[libc::SYS_clone3]), libc::ENOSYS, arch));
    match applied {
        Ok(()) => Restriction::new(
            NAME,
            State::On,
            format!("{count} system calls are denied, exec, ptrace, bpf and mount among them"),
        ),
        Err(error) => Restriction::new(NAME, State::Unavailable, error.to_string()),
    }
}

type Rules = (i64, Vec<SeccompRule>);

fn refuse(
    rules: impl IntoIterator<Item = Rules>,
    errno: i32,
    arch: TargetArch,
) -> Result<(), seccompiler::Error> {
    let rules: BTreeMap<_, _> = rules.into_iter().collect();
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch)?;
    apply_filter(&BpfProgram::try_from(filter)?)
}

/// Each by its number, whatever its arguments are.
fn numbers<'a>(calls: impl IntoIterator<Item = &'a i64>) -> impl Iterator<Item = Rules> {
    calls
        .into_iter()
        .flat_map(|number| aliases(*number))
        .map(|number| (number, Vec::new()))
}

/// On x86-64 each call has a second number, that of the x32 ABI.
fn aliases(number: i64) -> Vec<i64> {
    const X32: i64 = 0x4000_0000;
    if cfg!(target_arch = "x86_64") {
        vec![number, number | X32]
    } else {
        vec![number]
    }
}

/// A thread is a clone, too; a clone in a namespace of its own is not.
fn namespaces() -> impl Iterator<Item = Rules> {
    let flags = [
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWUTS,
    ];
    let has = |flag: i32| {
        let flag = u64::from(flag.unsigned_abs());
        let wanted = SeccompCmpOp::MaskedEq(flag);
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, wanted, flag)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    let rules: Vec<_> = flags
        .into_iter()
        .filter_map(|flag| has(flag).ok())
        .collect();
    aliases(libc::SYS_clone)
        .into_iter()
        .map(move |number| (number, rules.clone()))
}

pub(super) const NAME: &str = "seccomp";

/// Starting programs, looking into other processes, changing the system, and the parts of the kernel that most holes were in.
static DENIED: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_personality,
    libc::SYS_fanotify_init,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
];

#[cfg(target_arch = "x86_64")]
static OF_THIS_ARCH: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_mknod,
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_lookup_dcookie,
];
#[cfg(not(target_arch = "x86_64"))]
static OF_THIS_ARCH: &[i64] = &[];

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::process::Command;
    use std::thread;

    use super::*;

    #[test]
    fn whoever_takes_it_over_can_start_no_program_and_the_sidecar_can_start_threads() {
        let restricted = || {
            let became = deny();
            let exec = Command::new("true").status().map_err(|error| error.kind());
            let memory = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::empty());
            let memory = memory.map(drop).map_err(|error| error.kind());
            let thread = thread::Builder::new()
                .spawn(|| 7)
                .map(|other| other.join().unwrap());
            (became.state, exec.map(drop), memory, thread.ok())
        };
        let (state, exec, memory, thread) = thread::spawn(restricted).join().unwrap();
        assert_eq!(state, State::On);
        assert_eq!(exec, Err(ErrorKind::PermissionDenied));
        assert_eq!(memory, Err(ErrorKind::PermissionDenied));
        assert_eq!(thread, Some(7), "threads can be started");
    }
}
