//! What the container may use: CPUs, file descriptors.

use std::fs;
use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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

/// The lesser of 10,000 and what the file descriptors leave: a request needs one for the client and one for the
/// application, and some are kept for the admin plane, the log and certificates.
pub(crate) fn max_connections() -> usize {
    (descriptors() / 2).clamp(1, MOST)
}

/// What so many client connections leave of the file descriptors: a stream of HTTP/2 may need one of its own for the
/// application. At least as many as half of them, should the number of clients be a wish rather than a limit.
pub(crate) fn max_upstream(max_connections: usize) -> usize {
    let descriptors = descriptors();
    descriptors
        .saturating_sub(max_connections)
        .max(descriptors / 2)
        .max(1)
}

/// File descriptors for the data path.
fn descriptors() -> usize {
    let all = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    usize::try_from(all)
        .unwrap_or(usize::MAX)
        .saturating_sub(RESERVED)
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

const RESERVED: usize = 128;
const MOST: usize = 10_000;
