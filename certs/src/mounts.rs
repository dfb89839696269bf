//! Mounts that never change: a Secret mounted with `subPath`, or as a single file, is bound to the inode it had at the
//! start of the container. The kubelet's updates never show in it (slateci/slate-catalog#471).

use std::fs;
use std::path::{Path, PathBuf};

use crate::source::Part;

impl Part {
    /// Why this part can never change on disk, in words; none when it can.
    pub(crate) fn dead_mount(&self) -> Option<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mounts = parse(&table);
        self.paths()
            .into_iter()
            .find_map(|path| dead(&mounts, path))
    }
}

/// One mount: what of its file system is mounted, and where.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    root: String,
    point: PathBuf,
}

fn dead(mounts: &[Mount], path: &Path) -> Option<String> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // The last one mounted over it is the one that is seen.
    let mount = mounts
        .iter()
        .rev()
        .filter(|mount| real.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())?;
    let is_file = mount.point == real;
    // What the kubelet binds for a subPath lies in a `..2026_11_22_…` folder of the volume.
    let is_sub_path = mount.root.split('/').any(|part| part.starts_with("..2"));
    let how = match (is_file, is_sub_path) {
        (_, true) => "with subPath",
        (true, false) => "as a single file",
        (false, false) => return None,
    };
    Some(format!(
        "{} is mounted {how}: it keeps its present content for ever, a renewed Secret never shows; mount the whole Secret as a folder instead",
        path.display()
    ))
}

/// `/proc/self/mountinfo`, proc(5): the fourth field is the root, the fifth the mount point.
fn parse(table: &str) -> Vec<Mount> {
    let line = |line: &str| {
        let mut fields = line.split(' ').skip(3);
        Some(Mount {
            root: unescape(fields.next()?),
            point: unescape(fields.next()?).into(),
        })
    };
    table.lines().filter_map(line).collect()
}

/// Space, tab, line end and backslash stand as three octal digits.
fn unescape(field: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(field.to_owned(), |text, (code, plain)| {
        text.replace(code, plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 0:20 / / rw - overlay overlay rw
31 22 0:50 / /etc/whole rw - tmpfs tmpfs rw
32 22 0:50 /..2026_11_22_10_00_00.1/tls.crt /etc/sub/tls.crt ro - tmpfs tmpfs rw
33 22 0:50 /..2026_11_22_10_00_00.1/sub /etc/folder ro - tmpfs tmpfs rw
34 22 259:1 /home/me/a\\040b.pem /etc/a\\040b.pem ro - ext4 /dev/x rw
";

    #[test]
    fn sub_paths_and_single_files_never_change_and_whole_secrets_do() {
        let mounts = parse(TABLE);
        let words = |path: &str| dead(&mounts, Path::new(path));
        assert_eq!(words("/etc/whole/tls.crt"), None);
        assert_eq!(words("/elsewhere/tls.crt"), None);
        assert!(words("/etc/sub/tls.crt").unwrap().contains("with subPath"));
        assert!(words("/etc/folder/tls.crt").unwrap().contains("subPath"));
        assert!(words("/etc/a b.pem").unwrap().contains("as a single file"));
    }
}
