//! `portcullis demo`: the main job on an embedded default. A legacy app, a throw-away CA and certificate laid out as the
//! kubelet lays out a Secret, the sidecar in front, and the lines to try.

mod legacy;
mod pki;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use portcullis_certs::Source;

use crate::addresses::Addresses;
use crate::config::{AdminAddress, Config, Raw};
use crate::upstream::TargetUrl;

/// What the demo has put up around the sidecar. The temporary folder goes with it.
#[derive(Debug)]
pub struct Stage {
    folder: tempfile::TempDir,
    /// A second app for the target change; none when the user brought a target.
    second: Option<SocketAddr>,
    made_certificate: bool,
}

impl Stage {
    /// Puts everything up that the user did not bring, and adapts the configuration to it.
    ///
    /// # Errors
    /// When the temporary folder, the certificate or the apps cannot be made.
    pub fn set(mut config: Config, raw: &mut Raw) -> io::Result<(Self, Config)> {
        let folder = tempfile::Builder::new()
            .prefix("portcullis-demo-")
            .tempdir()?;
        let made_certificate = !["cert-dir", "cert"]
            .iter()
            .any(|name| raw.is_explicit(name));
        if made_certificate {
            pki::write(folder.path())?;
            let tls = folder.path().join("tls");
            raw.stage(DEMO, "cert-dir", &tls.display());
            config.certificates.sources = vec![Source::Directory(tls)];
        }
        let mut second = None;
        if !raw.is_explicit("target") {
            let target = format!("http://{}", legacy::start("Hello you!")?);
            raw.stage(DEMO, "target", &target);
            config.target = TargetUrl::parse(&target).map_err(io::Error::other)?;
            second = Some(legacy::start("Hello from the second app!")?);
        }
        open(&mut config, raw);
        if !raw.is_explicit("service-name") {
            "demo".clone_into(&mut config.service_name);
            raw.stage(DEMO, "service-name", &"demo");
        }
        if !raw.is_explicit("drain-delay") {
            config.drain_delay = Duration::ZERO;
            raw.stage(DEMO, "drain-delay", &"0s");
        }
        Ok((
            Self {
                folder,
                second,
                made_certificate,
            },
            config,
        ))
    }

    /// What goes with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The lines to try.
    pub fn script(&self, addresses: &Addresses) -> String {
        Script {
            stage: self,
            addresses,
        }
        .to_string()
    }
}

/// Free ports where nobody named any.
fn open(config: &mut Config, raw: &mut Raw) {
    let is_explicit = raw.is_explicit("listen");
    // The redirect has to name it, so it cannot be left to the system.
    if !is_explicit || config.listen.port() == 0 {
        config.listen = free(if is_explicit { 0 } else { 8443 });
        raw.stage(DEMO, "listen", &config.listen);
    }
    if !raw.is_explicit("admin") {
        config.admin.address = AdminAddress::Tcp(free(9901));
        raw.stage(DEMO, "admin", &config.admin.address);
    }
    if !raw.is_explicit("probe") {
        config.probe = free(9902);
        raw.stage(DEMO, "probe", &config.probe);
    }
    if config.redirect.is_none() {
        let redirect = free(8080);
        config.redirect = Some(redirect);
        raw.stage(DEMO, "redirect", &redirect);
    }
    // Clients go to the port itself, there is no Service in front.
    if !raw.is_explicit("redirect-port") {
        config.redirect_port = config.listen.port();
        raw.stage(DEMO, "redirect-port", &config.redirect_port);
    }
}

/// The port if it is free on the loopback, else any.
fn free(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .unwrap_or_else(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
    }
}

/// The origin of what it puts up.
const DEMO: &str = "demo";

struct Script<'a> {
    stage: &'a Stage,
    addresses: &'a Addresses,
}

impl fmt::Display for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, addresses } = self;
        let folder: &Path = stage.folder.path();
        let ca = folder.join("ca.crt");
        let (https, admin) = (addresses.https.port(), &addresses.admin);
        let trust = if stage.made_certificate {
            format!(" --cacert {}", ca.display())
        } else {
            String::new()
        };
        writeln!(f, "Portcullis demo. Try, in another terminal:\n")?;
        writeln!(f, "  # hello over HTTPS")?;
        writeln!(f, "  curl{trust} https://localhost:{https}/\n")?;
        if let Some(redirect) = addresses.redirect {
            writeln!(f, "  # plain HTTP is sent to HTTPS")?;
            writeln!(
                f,
                "  curl -i 'http://localhost:{}/some/path?and=query'\n",
                redirect.port()
            )?;
        }
        let program = std::env::current_exe().unwrap_or_else(|_| "portcullis".into());
        let program = program.display();
        writeln!(
            f,
            "  # the latest requests, for programs and for people; how it is, and what is around it"
        )?;
        let (curl, plane) = match admin {
            AdminAddress::Tcp(address) => ("curl".to_owned(), format!("http://{address}")),
            AdminAddress::Unix(path) => (
                format!("curl --unix-socket {}", path.display()),
                "http://localhost".to_owned(),
            ),
        };
        writeln!(f, "  {curl} '{plane}/logs?limit=5'")?;
        writeln!(f, "  {program} logs --admin {admin}")?;
        writeln!(f, "  {program} status --admin {admin}")?;
        writeln!(f, "  {program} doctor --admin {admin}\n")?;
        writeln!(f, "  # the same to look at, in a terminal and in a browser")?;
        writeln!(f, "  {program} top --admin {admin}")?;
        if matches!(admin, AdminAddress::Tcp(_)) {
            writeln!(f, "  xdg-open {plane}/")?;
        }
        writeln!(f)?;
        if let Some(second) = stage.second {
            writeln!(
                f,
                "  # another target at run time, for the next request; undone after a minute if it is not confirmed"
            )?;
            writeln!(
                f,
                "  {curl} -X PUT -H 'Content-Type: application/json' -d '{{\"url\":\"http://{second}\",\"confirm_within\":\"60s\"}}' {plane}/target"
            )?;
            writeln!(f, "  {curl} -X POST {plane}/target/confirm\n")?;
        }
        if stage.made_certificate {
            let tls = folder.join("tls");
            let tls = tls.display();
            writeln!(
                f,
                "  # rotate the certificate as the kubelet does, by renaming ..data; then look at what is served"
            )?;
            writeln!(
                f,
                "  ln -s ..second {tls}/..data_tmp && mv -T {tls}/..data_tmp {tls}/..data"
            )?;
            writeln!(f, "  {curl} {plane}/certs\n")?;
        }
        writeln!(f, "  # health and metrics")?;
        writeln!(
            f,
            "  curl http://{0}/readyz http://{0}/metrics\n",
            addresses.probe
        )?;
        if stage.made_certificate {
            writeln!(f, "The CA of the demo: {}", ca.display())?;
        }
        writeln!(f, "Ctrl-C ends it. Records follow.\n")
    }
}
