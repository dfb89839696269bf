//! The target in force and the one way to change it: parse, refuse, probe, swap. A refused change changes nothing.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::connect::{DialError, probe};
use super::target::{Endpoint, Target, TargetUrl};

/// The listeners of this very process: forwarding to them would go round in circles.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnPorts(pub Vec<SocketAddr>);

impl OwnPorts {
    /// Whether connecting to `address` reaches this process.
    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.0.iter().any(|own| {
            let listening = own.ip().to_canonical();
            own.port() == address.port()
                // Connecting to "any" address means this host.
                && (ip.is_unspecified()
                    || listening == ip || (listening.is_unspecified() && is_here(ip)))
        })
    }
}

/// Whether an address is one of this host's: only those can be bound.
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}

/// The configured target, the one in force, and the rules for changing it.
#[derive(Debug)]
pub(crate) struct Targets {
    configured: TargetUrl,
    current: Arc<ArcSwap<Target>>,
    own: Arc<OwnPorts>,
    allow_remote: bool,
    connect_timeout: Duration,
    /// Changes come one after the other.
    changing: Mutex<()>,
}

/// Why a change was refused: a stable word and a sentence.
pub(crate) struct Refused(pub(crate) &'static str, pub(crate) String);

impl Targets {
    /// Starts with the configured target in force.
    ///
    /// # Errors
    /// When the target is one of this process's own listeners.
    pub(crate) fn new(
        configured: TargetUrl,
        own: OwnPorts,
        allow_remote: bool,
        connect_timeout: Duration,
    ) -> Result<Self, String> {
        let current = Arc::new(ArcSwap::from_pointee(Target::new(1, configured.clone())));
        let targets = Self {
            configured,
            current,
            own: Arc::new(own),
            allow_remote,
            connect_timeout,
            changing: Mutex::new(()),
        };
        targets
            .refuse_loop(&targets.configured)
            .map_err(|Refused(_, why)| why)?;
        Ok(targets)
    }

    /// The target from the configuration.
    pub(crate) fn configured(&self) -> &TargetUrl {
        &self.configured
    }

    /// The target in force.
    pub(crate) fn current(&self) -> Arc<Target> {
        self.current.load_full()
    }

    /// For a worker's own cache of the target in force.
    pub(crate) fn shared(&self) -> Arc<ArcSwap<Target>> {
        Arc::clone(&self.current)
    }

    pub(crate) fn own(&self) -> Arc<OwnPorts> {
        Arc::clone(&self.own)
    }

    /// Changes the target for every request that starts from now on; those in flight finish where they began.
    pub(crate) async fn change(&self, text: &str, try_it: bool) -> Result<Arc<Target>, Refused> {
        let url = TargetUrl::parse(text).map_err(|why| Refused("malformed", why))?;
        if !self.allow_remote && !url.is_local() {
            let why = format!(
                "{url} is not on the loopback, and the sidecar runs without --allow-remote-target"
            );
            return Err(Refused("not_local", why));
        }
        self.refuse_loop(&url)?;
        let _one_at_a_time = self.changing.lock().await;
        let target = Arc::new(Target::new(self.current().number + 1, url));
        if try_it {
            probe(&target, &self.own, self.connect_timeout)
                .await
                .map_err(|error| {
                    let why = format!("{} does not take connections: {error}", target.url);
                    Refused(
                        if matches!(error, DialError::Loop) {
                            "loop"
                        } else {
                            "probe_failed"
                        },
                        why,
                    )
                })?;
        }
        self.current.store(Arc::clone(&target));
        Ok(target)
    }

    fn refuse_loop(&self, url: &TargetUrl) -> Result<(), Refused> {
        let addresses = match url.endpoint() {
            Endpoint::Address(address) => vec![*address],
            Endpoint::Localhost(port) => Target::new(0, url.clone()).loopbacks(*port).to_vec(),
            // What a name means is known only when connecting; `dial` asks again there.
            Endpoint::Name(..) | Endpoint::Unix(_) => Vec::new(),
        };
        if addresses.iter().any(|address| self.own.contains(*address)) {
            let why =
                format!("the target {url} is Portcullis itself; give the application's own port");
            return Err(Refused("loop", why));
        }
        Ok(())
    }
}
