//! The files that the sidecar needs while it runs, and for what. What is not on this list cannot be opened (Landlock);
//! what is open before, stdout and the listeners, is not concerned.

use std::path::{Path, PathBuf};

use crate::config::{AdminAddress, Authorities, Config};

/// What is done below a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// Files are read, folders are listed.
    Read,
    /// Files are made and written to.
    Write,
    /// Files are taken away.
    Remove,
}

/// A path, and what is done with what is below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    /// A folder or a file.
    pub(crate) path: PathBuf,
    /// What for.
    pub(crate) usage: Use,
}

/// The one list. `scratch` is a folder that is taken away at the end.
pub(crate) fn rules(config: &Config, scratch: Option<&Path>) -> Vec<Rule> {
    let mut found: Vec<Rule> = secrets(config)
        .iter()
        .flat_map(|file| homes(file))
        .chain(SYSTEM.iter().map(PathBuf::from))
        .map(reads)
        .collect();
    if let Some(Authorities::System(bundle)) = collector_ca(config) {
        found.extend(of_system(bundle));
    }
    if config.allow_remote_target || has_named_collector(config) {
        found.extend(RESOLVER.iter().flat_map(|file| of_system(Path::new(file))));
    }
    if let Some(file) = &config.recording.file {
        found.extend(folders(file).map(|path| Rule {
            path,
            usage: Use::Write,
        }));
    }
    if let AdminAddress::Unix(socket) = &config.admin.address {
        found.extend(folders(socket).map(removes));
    }
    if let Some(scratch) = scratch {
        found.push(reads(scratch.to_owned()));
        found.extend(folders(scratch).map(removes));
    }
    found.sort();
    found.dedup();
    found
}

fn reads(path: PathBuf) -> Rule {
    Rule {
        path,
        usage: Use::Read,
    }
}

fn removes(path: PathBuf) -> Rule {
    Rule {
        path,
        usage: Use::Remove,
    }
}

/// Everything that is read again while the process runs.
fn secrets(config: &Config) -> Vec<PathBuf> {
    let admin = &config.admin;
    let mut files = config.certificates.files();
    files.extend(admin.tls.iter().flat_map(|setup| setup.files()));
    files.extend(admin.token_file.clone());
    if let Some(Authorities::File(ca)) = collector_ca(config) {
        files.push(ca.clone());
    }
    let traces = config.traces.iter();
    files.extend(traces.flat_map(|traces| traces.header_file.clone()));
    files
}

fn collector_ca(config: &Config) -> Option<&Authorities> {
    config.traces.as_ref()?.ca.as_ref()
}

fn has_named_collector(config: &Config) -> bool {
    let traces = config.traces.as_ref();
    traces.is_some_and(|traces| traces.endpoint.addresses().is_none())
}

/// Where a file that is replaced may be read from: its folder and the folder that is in, because a folder may be replaced as a
/// whole; by its name, and by where that leads now.
fn homes(file: &Path) -> Vec<PathBuf> {
    if file.parent() == Some(Path::new("/")) {
        return existing(file).into_iter().collect();
    }
    let mut homes: Vec<PathBuf> = folders(file)
        .map(|folder| match folder.parent() {
            // To grant the root would be to grant everything.
            Some(parent) if parent != Path::new("/") => parent.to_owned(),
            _ => folder,
        })
        .filter_map(|home| existing(&home))
        .collect();
    homes.dedup();
    homes
}

/// The folder of a file by its name, and by where that leads.
fn folders(file: &Path) -> impl Iterator<Item = PathBuf> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let real = std::fs::canonicalize(&absolute).ok();
    // A folder may be a link although the file is not there yet.
    let real_folder = absolute
        .parent()
        .and_then(|folder| std::fs::canonicalize(folder).ok());
    let named = absolute.parent().map(Path::to_owned);
    // One that leads to what is not there yet, too.
    let leads = || std::fs::read_link(&absolute).ok();
    let real = real.or_else(|| Some(absolute.parent()?.join(leads()?)));
    let behind = real.and_then(|real| real.parent().map(Path::to_owned));
    [named, real_folder, behind].into_iter().flatten()
}

/// What is not there yet can only be allowed with the folder that it will be made in.
fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .find(|path| path.exists())
        .map(Path::to_owned)
}

/// A file of the system, and the folder that it leads to: what manages it there puts new ones in its place.
fn of_system(file: &Path) -> Vec<Rule> {
    let real = std::fs::canonicalize(file).ok();
    let elsewhere = real
        .as_deref()
        .and_then(Path::parent)
        .filter(|folder| !file.starts_with(folder));
    [Some(file), elsewhere]
        .into_iter()
        .flatten()
        .filter(|path| path.exists())
        .map(|path| reads(path.to_owned()))
        .collect()
}

/// What the process looks at of itself, of the sockets of the pod, and of what its container may use.
const SYSTEM: [&str; 2] = ["/proc/self", "/sys/fs/cgroup"];

/// What the C library reads to find an address, its own modules for that included.
const RESOLVER: [&str; 10] = [
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
    "/lib",
    "/lib64",
    "/usr/lib",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn has(rules: &[Rule], path: &Path, usage: Use) -> bool {
        rules
            .iter()
            .any(|rule| rule.path == path && rule.usage == usage)
    }

    fn of(line: &str) -> Vec<Rule> {
        rules(&crate::check::read(line), None)
    }

    #[test]
    fn a_secret_may_be_replaced_with_the_folder_that_it_is_in() {
        let mounts = tempfile::tempdir().unwrap();
        let tls = mounts.path().join("tls");
        std::fs::create_dir(&tls).unwrap();
        let rules = of(&format!("--cert-dir {}", tls.display()));
        assert!(has(&rules, mounts.path(), Use::Read), "{rules:?}");
    }

    #[test]
    fn what_the_exporter_reads_again_may_be_replaced_in_the_same_way() {
        let mounts = tempfile::tempdir().unwrap();
        for name in ["ca", "token"] {
            std::fs::create_dir(mounts.path().join(name)).unwrap();
        }
        let mounts = mounts.path();
        let rules = of(&format!(
            "--trace-exporter otlp --trace-endpoint https://127.0.0.1:4318 --trace-ca {0}/ca/ca.crt --trace-header-file {0}/token/headers",
            mounts.display()
        ));
        assert!(has(&rules, mounts, Use::Read), "{rules:?}");
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for_in_what_is() {
        let mounts = tempfile::tempdir().unwrap();
        let tls = mounts.path().join("to/come/tls");
        let rules = of(&format!("--cert-dir {}", tls.display()));
        assert!(has(&rules, mounts.path(), Use::Read), "{rules:?}");
    }

    #[test]
    fn a_link_is_allowed_at_both_ends() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let live = there.path().join("archive/app");
        std::fs::create_dir_all(&live).unwrap();
        std::fs::write(live.join("tls.crt"), "").unwrap();
        std::os::unix::fs::symlink(&live, here.path().join("tls")).unwrap();
        let rules = of(&format!("--cert-dir {}/tls", here.path().display()));
        for path in [here.path().to_owned(), there.path().join("archive")] {
            assert!(has(&rules, &path, Use::Read), "{path:?} in {rules:?}");
        }
    }

    #[test]
    fn the_root_is_never_allowed_for_what_is_there() {
        let rules = of("--cert /etc/hosts --key /etc/passwd --log-file /tmp/access.log");
        assert!(!rules.iter().any(|rule| rule.path == Path::new("/")));
        // A file at the root is allowed alone.
        let rules = of("--ticket-seed /proc");
        assert!(has(&rules, Path::new("/proc"), Use::Read), "{rules:?}");
        let rules = of("--log-file /tmp/access.log");
        assert!(!rules.iter().any(|rule| rule.path == Path::new("/")));
        assert!(has(&rules, Path::new("/tmp"), Use::Write), "{rules:?}");
        assert!(!has(&rules, Path::new("/etc/resolv.conf"), Use::Read));
    }

    #[test]
    fn names_are_looked_up_only_where_a_target_or_a_collector_may_have_one() {
        for (line, wanted) in [
            ("--allow-remote-target", true),
            ("--trace-exporter otlp", false),
            (
                "--trace-exporter otlp --trace-endpoint http://localhost:4318",
                false,
            ),
            (
                "--trace-exporter otlp --trace-endpoint http://jaeger:4318",
                true,
            ),
        ] {
            let rules = of(line);
            let found = has(&rules, Path::new("/etc/hosts"), Use::Read);
            assert_eq!(found, wanted, "{line}: {rules:?}");
        }
    }
}
