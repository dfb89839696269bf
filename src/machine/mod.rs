//! What the container may use: CPUs, file descriptors, memory.

mod capacity;
mod memory;

use std::fs;
use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) use capacity::Capacity;

/// One worker for each CPU the container may use: `available_parallelism` takes the affinity and the cgroup's quota
/// (v1 and v2), but rounds the quota down; a quota of 1.5 CPUs is worth two workers.
pub(crate) fn workers() -> usize {
    let allowed = available_parallelism().map_or(1, usize::from);
    quota().map_or(allowed, |quota| {
        let affinity =
            rustix::thread::sched_getaffinity(None).map_or(allowed, |set| set.count() as usize);
        (quota.ceil() as usize).clamp(1, affinity.max(1))
    })
}

/// CPUs granted by cgroup v2's `cpu.max` or v1's `cpu.cfs_quota_us`, as a container sees its own cgroup.
fn quota() -> Option<f64> {
    let ratio = |quota: &str, period: &str| {
        let (quota, period): (f64, f64) = (quota.trim().parse().ok()?, period.trim().parse().ok()?);
        (quota > 0.0 && period > 0.0).then_some(quota / period)
    };
    if let Ok(max) = fs::read_to_string("/sys/fs/cgroup/cpu.max") {
        let (quota, period) = max.split_once(' ')?;
        return ratio(quota, period);
    }
    let quota = fs::read_to_string("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").ok()?;
    ratio(
        &quota,
        &fs::read_to_string("/sys/fs/cgroup/cpu/cpu.cfs_period_us").ok()?,
    )
}

/// File descriptors for the data path.
fn descriptors() -> usize {
    let all = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let all = usize::try_from(all).unwrap_or(usize::MAX);
    all - RESERVED.min(all / 2)
}

/// Raises the soft limit of file descriptors to the hard one. The soft default of 1024 exists for `select`, which is
/// not used here.
pub(crate) fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // If it may not be raised, fewer connections are the consequence, not a failure.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        );
    }
}

/// For the planes, the log, certificates and what the process itself has open; half of them where there are few.
const RESERVED: usize = 128;
