//! Landlock: which files may be opened, and which TCP ports may be connected to (kernel documentation,
//! userspace-api/landlock). Best effort: an older kernel enforces what it knows of it.

use std::path::Path;
use std::sync::OnceLock;

use ::landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope,
};

use super::files::{Rule, Use, rules};
use super::{Restriction, State};
use crate::config::Config;
use crate::upstream::Endpoint;

/// What is to be allowed.
#[derive(Debug)]
pub(crate) struct Plan {
    files: Vec<Rule>,
    /// The only ports that may be connected to; none: any.
    connect: Option<Vec<u16>>,
}

impl Plan {
    /// `ports` are the sidecar's own, at which it looks as a client would.
    pub(crate) fn new(config: &Config, ports: &[u16], scratch: Option<&Path>) -> Self {
        Self {
            files: rules(config, scratch),
            connect: config
                .target_locked
                .then(|| [ports, &upstream(config), &collector(config)].concat()),
        }
    }

    /// Whether everything is allowed, because what is needed can only be found at the root.
    fn is_wide(&self) -> bool {
        self.files.iter().any(|rule| rule.path == Path::new("/"))
    }

    pub(crate) fn apply(&self) -> Restriction {
        match self.enforce() {
            Ok(status) => self.told(&status),
            Err(error) => Restriction::new(NAME, State::Unavailable, error.to_string()),
        }
    }

    fn enforce(&self) -> Result<RestrictionStatus, RulesetError> {
        let mut ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(KNOWN))?
            .handle_access(AccessNet::BindTcp)?
            .scope(Scope::AbstractUnixSocket)?
            .scope(Scope::Signal)?;
        if self.connect.is_some() {
            ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
        }
        let mut created = ruleset.create()?.no_new_privs(false);
        let mut held = Vec::new();
        for rule in &self.files {
            // What went away meanwhile cannot be allowed.
            let Ok(path) = PathFd::new(&rule.path) else {
                continue;
            };
            let is_file = rule.path.is_file();
            let access = rights(rule.usage, is_file);
            created = created.add_rule(PathBeneath::new(&path, access))?;
            held.push(path);
        }
        // A rule is about an inode, and procfs makes a new one for a folder that nobody holds.
        let _ = HELD.set(held);
        // Nobody listens any more; the sidecar's looks at itself bind a port that the system picks.
        created = created.add_rule(NetPort::new(0, AccessNet::BindTcp))?;
        for port in self.connect.iter().flatten() {
            created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        created.restrict_self()
    }

    fn told(&self, status: &RestrictionStatus) -> Restriction {
        let version = match status.landlock {
            LandlockStatus::Available { effective_abi, .. } => {
                format!("Landlock version {}", effective_abi as i32)
            }
            LandlockStatus::NotEnabled => {
                "Landlock is built into this kernel and not enabled".to_owned()
            }
            _ => "this kernel has no Landlock (Linux 5.13 has)".to_owned(),
        };
        let what = if self.connect.is_some() {
            "files by a list, connections to the ports of the target and of the collector of traces alone, no listener at a port of choice"
        } else {
            "files by a list, no listener at a port of choice"
        };
        match status.ruleset {
            RulesetStatus::FullyEnforced if self.is_wide() => {
                Restriction::new(NAME, State::Partial, format!("{what} ({version}); {WIDE}"))
            }
            RulesetStatus::FullyEnforced => {
                Restriction::new(NAME, State::On, format!("{what} ({version})"))
            }
            RulesetStatus::PartiallyEnforced => Restriction::new(
                NAME,
                State::Partial,
                format!(
                    "{what}, as far as this kernel can ({version}; all of it needs 6, Linux 6.12)"
                ),
            ),
            RulesetStatus::NotEnforced => Restriction::new(NAME, State::Unavailable, version),
        }
    }
}

/// The ports that the target needs, that of a name server's answers too long for UDP included.
fn upstream(config: &Config) -> Vec<u16> {
    match config.target.endpoint() {
        Endpoint::Name(_, port) => vec![*port, DNS],
        Endpoint::Address(address) => vec![address.port()],
        Endpoint::Localhost(port) => vec![*port],
        Endpoint::Unix(_) => Vec::new(),
    }
}

/// The same for the collector of traces, where there is one.
fn collector(config: &Config) -> Vec<u16> {
    let Some(traces) = &config.traces else {
        return Vec::new();
    };
    match traces.endpoint.addresses() {
        Some(_) => vec![traces.endpoint.port],
        None => vec![traces.endpoint.port, DNS],
    }
}

fn rights(usage: Use, is_file: bool) -> BitFlags<AccessFs> {
    match usage {
        Use::Read if is_file => AccessFs::ReadFile.into(),
        Use::Read => AccessFs::ReadFile | AccessFs::ReadDir,
        Use::Write => AccessFs::WriteFile | AccessFs::MakeReg,
        Use::Remove => AccessFs::RemoveFile | AccessFs::RemoveDir | AccessFs::ReadDir,
    }
}

const WIDE: &str = "a folder at the root was not there yet, so the root itself is on the list; mount it before the start, or use one further down";
/// For the life of the process.
static HELD: OnceLock<Vec<PathFd>> = OnceLock::new();

pub(super) const NAME: &str = "landlock";
/// Linux 6.12. Of what came later nothing is needed.
const KNOWN: ABI = ABI::V6;
const DNS: u16 = 53;

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    use std::thread;

    use super::*;

    /// A restricted thread leaves the others as they are.
    fn restricted<T: Send + 'static>(
        line: &str,
        ports: &'static [u16],
        then: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let config = crate::check::read(line);
        let body = move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            let became = Plan::new(&config, ports, None).apply();
            (became.state == State::On).then(then)
        };
        // Where the kernel cannot, there is nothing to be seen.
        thread::spawn(body).join().unwrap()
    }

    fn opened(path: &Path) -> Result<(), ErrorKind> {
        File::open(path).map(drop).map_err(|error| error.kind())
    }

    #[test]
    fn nothing_but_what_is_on_the_list_can_be_opened() {
        let (mounts, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (tls, secret) = (mounts.path().join("tls"), other.path().join("secret"));
        std::fs::create_dir(&tls).unwrap();
        std::fs::write(tls.join("tls.crt"), "").unwrap();
        std::fs::write(&secret, "").unwrap();
        let line = format!("--cert-dir {}", tls.display());
        let seen = restricted(&line, &[], move || {
            // What takes the folder's place is as good as the folder.
            let seen = (opened(&tls.join("tls.crt")), opened(&secret));
            let made = OpenOptions::new()
                .create(true)
                .append(true)
                .open(tls.join("new"));
            (seen, made.map(drop).map_err(|error| error.kind()))
        });
        if let Some((seen, made)) = seen {
            assert_eq!(seen, (Ok(()), Err(ErrorKind::PermissionDenied)));
            assert_eq!(made, Err(ErrorKind::PermissionDenied));
        }
    }

    #[test]
    fn a_folder_that_takes_the_place_of_the_old_one_is_read() {
        let mounts = tempfile::tempdir().unwrap();
        let tls = mounts.path().join("tls");
        std::fs::create_dir(&tls).unwrap();
        let line = format!("--cert-dir {}", tls.display());
        let (go, gone) = std::sync::mpsc::channel();
        let (told, restriction) = std::sync::mpsc::channel();
        let file = tls.join("tls.crt");
        let reader = thread::spawn(move || {
            restricted(&line, &[], move || {
                told.send(()).unwrap();
                gone.recv().unwrap();
                opened(&file)
            })
        });
        if restriction.recv().is_ok() {
            std::fs::remove_dir(&tls).unwrap();
            std::fs::create_dir(&tls).unwrap();
            std::fs::write(tls.join("tls.crt"), "").unwrap();
            go.send(()).unwrap();
        }
        assert_ne!(
            reader.join().unwrap(),
            Some(Err(ErrorKind::PermissionDenied))
        );
    }

    #[test]
    fn a_locked_target_is_the_only_place_to_connect_to() {
        let [app, other] = [0; 2].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
        let [app_port, other_port] = [&app, &other].map(|one| one.local_addr().unwrap().port());
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = free.local_addr().unwrap().port();
        let line = format!("--target 127.0.0.1:{app_port}");
        let connects = move || {
            let to = |port| TcpStream::connect(("127.0.0.1", port)).map(drop);
            let binds = TcpListener::bind(("127.0.0.1", free)).map(drop);
            [to(app_port), to(other_port), binds].map(|done| done.is_ok())
        };
        if let Some(seen) = restricted(&line, &[], connects) {
            assert_eq!(seen, [true, true, false], "not locked");
        }
        if let Some(seen) = restricted(&format!("{line} --target-locked"), &[], connects) {
            assert_eq!(seen, [true, false, false], "locked");
        }
        let collector = format!(
            "{line} --target-locked --trace-exporter zipkin --trace-endpoint http://127.0.0.1:{other_port}"
        );
        if let Some(seen) = restricted(&collector, &[], connects) {
            assert_eq!(seen, [true, true, false], "locked, with a collector");
        }
    }
}
