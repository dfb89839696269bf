//! The memory that the container may use, by its cgroup (v1 and v2).

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes, by the tightest limit on the way from this process's cgroup to the root; none where nothing limits it.
pub(super) fn limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    tightest(Path::new("/sys/fs/cgroup"), &groups)
}

/// `groups` is what `/proc/self/cgroup` says: `HIERARCHY:CONTROLLERS:PATH` (cgroups(7)). In a container the path is often one that
/// only the host has, and the root of the mount is the container's own.
fn tightest(mount: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let path = Path::new(path.trim_start_matches('/'));
        let is_memory = controllers.split(',').any(|name| name == "memory");
        match (controllers, is_memory) {
            ("", _) => {
                let hybrid = mount.join("unified");
                let root = if hybrid.is_dir() {
                    hybrid
                } else {
                    mount.to_owned()
                };
                along(&root, path, "memory.max")
            }
            (_, true) => along(&mount.join("memory"), path, "memory.limit_in_bytes"),
            _ => None,
        }
    });
    limits.min()
}

fn along(root: &Path, path: &Path, file: &str) -> Option<u64> {
    let groups: Vec<PathBuf> = path.ancestors().map(|group| root.join(group)).collect();
    groups
        .iter()
        .filter_map(|group| read(&group.join(file)))
        .min()
}

/// `max`, and the largest number of pages that v1 writes for it, are no limit.
fn read(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let bytes = text.trim().parse().ok()?;
    (bytes < NO_LIMIT).then_some(bytes)
}

/// More than a machine has.
const NO_LIMIT: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(files: &[(&str, &str)]) -> tempfile::TempDir {
        let mount = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = mount.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        mount
    }

    #[test]
    fn the_tightest_limit_on_the_way_to_the_root_counts() {
        let v2 = mount(&[
            ("pods/one/memory.max", "max\n"),
            ("pods/memory.max", "134217728\n"),
            ("memory.max", "268435456\n"),
        ]);
        assert_eq!(tightest(v2.path(), "0::/pods/one\n"), Some(128 << 20));
        // A path of the host's: what is mounted is the container's own.
        assert_eq!(tightest(v2.path(), "0::/host/only\n"), Some(256 << 20));
        let v1 = mount(&[
            ("memory/pods/memory.limit_in_bytes", "67108864\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("unified/memory.max", "max\n"),
        ]);
        let groups = "5:memory,hugetlb:/pods\n2:cpu:/\n0::/\n";
        assert_eq!(tightest(v1.path(), groups), Some(64 << 20));
        assert_eq!(tightest(v1.path(), "5:memory:/\n0::/\n"), None);
        assert_eq!(tightest(v1.path(), ""), None);
    }
}
