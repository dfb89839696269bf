//! The checked configuration. Past this border nothing is parsed or validated again.
//!
//! `table` is the one list of names, defaults and help texts; `gather` collects what flags, environment and file
//! say, with the origin of each value; `build` turns that into a [`Config`] or into *all* the mistakes at once.

mod admin;
mod build;
mod certificates;
mod combination;
mod gather;
mod given;
mod help;
mod networks;
mod options;
mod parse;
mod recording;
mod restrictions;
mod table;
mod traces;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use portcullis_certs::Setup;

use crate::machine::Capacity;
use crate::upstream::TargetUrl;

pub use admin::{AdminAddress, AdminPlane};
pub use gather::Raw;
pub use given::{Given, Origin};
pub use help::command;
pub use networks::Networks;
pub use options::Opt;
pub(crate) use parse::{address, duration, grace_period, path_and_query, switch};
pub use recording::{LogFormat, Recording};
pub use restrictions::Restrictions;
pub use table::options;
pub use traces::{Authorities, Exporter, Propagation, Traces};

/// Everything the sidecar needs to know to run. Never reloaded.
#[derive(Clone, Debug)]
pub struct Config {
    /// In every record.
    pub service_name: String,
    /// Where requests go.
    pub target: TargetUrl,
    /// Whether a target outside the pod is allowed.
    pub allow_remote_target: bool,
    /// The target stays what it is until a restart.
    pub target_locked: bool,
    /// The HTTPS listener.
    pub listen: SocketAddr,
    /// The plain HTTP listener that redirects.
    pub redirect: Option<SocketAddr>,
    /// The public HTTPS port, which redirects name.
    pub redirect_port: u16,
    /// Paths that the redirect listener answers with 200, or forwards where they are for ACME.
    pub redirect_exempt: Vec<String>,
    /// The only networks that clients may come from; empty is all.
    pub allow_clients: Networks,
    /// Networks whose word about the client is believed.
    pub trusted_proxies: Networks,
    /// Whether connections from these begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Whether HTTP/1 field names keep their case, and get `Title-Case` where they had none.
    pub header_case_kept: bool,
    /// Whether redirects to http on the client's own authority are rewritten to https, and cookies get `Secure`.
    pub fix_redirects: bool,
    /// The admin plane.
    pub admin: AdminPlane,
    /// The probe plane.
    pub probe: SocketAddr,
    /// What the application is asked for by `/app`.
    pub app_health: Option<String>,
    /// Whether readiness needs the application to be out of reach for all but the sidecar.
    pub require_loopback_app: bool,
    /// Where certificates are, and by which policy they are used.
    pub certificates: Setup,
    /// Paths that are open without a client certificate although one is required everywhere else. The handshake itself
    /// then lets clients in without.
    pub client_auth_exempt: Vec<String>,
    /// Whether a connection ends when its client would not be let in any more.
    pub close_on_trust_change: bool,
    /// `Strict-Transport-Security: max-age`, when asked for.
    pub hsts: Option<Duration>,
    /// Records.
    pub recording: Recording,
    /// Traces; none: what came with a request is passed on as it is.
    pub traces: Option<Traces>,
    /// How long to keep accepting after SIGTERM.
    pub drain_delay: Duration,
    /// How long to let requests finish after that.
    pub drain_timeout: Duration,
    /// The time the pod has to end in, where that is told.
    pub grace_period: Option<Duration>,
    /// What the process gives up.
    pub restrictions: Restrictions,
    /// Worker threads.
    pub workers: usize,
    /// Filter of the program's own log.
    pub log_level: String,
    /// Waits and sizes.
    pub limits: Limits,
}

/// Every wait and every size the data path is bound by.
#[derive(Clone, Debug)]
pub struct Limits {
    /// One deadline for the whole TLS handshake, from accept.
    pub handshake_timeout: Duration,
    /// TLS handshakes in progress at once.
    pub max_handshakes: usize,
    /// From the first byte of a request head to its end.
    pub head_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// Bytes of a request head.
    pub max_head: usize,
    /// Fields in a request head.
    pub max_headers: usize,
    /// Bytes of a request target.
    pub max_uri: usize,
    /// Bytes of a request body, if there is a limit.
    pub max_body: Option<u64>,
    /// For the next byte of a body, or for a client to take one.
    pub stall_timeout: Duration,
    /// Bytes per second from and to a client; zero is no limit.
    pub min_rate: u64,
    /// One attempt to connect to the application.
    pub connect_timeout: Duration,
    /// How long to go on trying while the application refuses.
    pub connect_retry_for: Duration,
    /// How long what a target's name stood for is good enough.
    pub resolve_every: Duration,
    /// From the sent request to the response head.
    pub response_timeout: Duration,
    /// How long an upstream connection may lie unused.
    pub pool_idle: Duration,
    /// Concurrent HTTP/2 streams on one connection.
    pub h2_streams: u32,
    /// HTTP/2 receive window of a stream, bytes.
    pub h2_window: u32,
    /// HTTP/2 decoded header list, bytes.
    pub h2_header_list: u32,
    /// Bytes of an HTTP/2 request body of unknown length that are gathered, so that HTTP/1 can be told its length.
    pub spool: usize,
    /// When a connection is told to go and come back; zero is never.
    pub max_connection_age: Duration,
    /// When it is told the same because of the number of its requests; none is never.
    pub max_requests_per_connection: Option<u64>,
    /// Downstream connections of one client open at once; zero is no limit.
    pub max_connections_per_client: usize,
    /// How many connections and requests there is room for.
    pub capacity: Capacity,
}

/// All that is wrong with a configuration, found in one run.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<String>);

/// All that could be read, whatever is wrong with it.
#[derive(Debug)]
pub struct Reading {
    /// What was written, with the origin of each value.
    pub raw: Raw,
    /// What would be run; where a value is mistaken, with the default in its place.
    pub config: Option<Config>,
    /// All that is wrong.
    pub mistakes: Mistakes,
}

impl Reading {
    /// Reads flags, environment and file, and checks them.
    pub fn of(matches: &clap::ArgMatches) -> Self {
        let (raw, mistakes) = gathered(matches);
        Self::built(raw, mistakes)
    }

    /// The same for `webhook`, on top of which comes what `stage` puts up.
    pub(crate) fn of_webhook(matches: &clap::ArgMatches, stage: impl FnOnce(&mut Raw)) -> Self {
        let known: Vec<_> = table::webhook().collect();
        let (mut raw, mistakes) = gathered_of(&known, matches);
        stage(&mut raw);
        Self::built(raw, mistakes)
    }

    fn built(raw: Raw, mut mistakes: Vec<String>) -> Self {
        let config = build::build(&raw, &mut mistakes);
        Self {
            raw,
            config,
            mistakes: Mistakes(mistakes),
        }
    }

    /// What is to be run, unless there are mistakes.
    pub(crate) fn sound(self) -> Result<(Config, Raw), Mistakes> {
        match self.config {
            Some(config) if self.mistakes.0.is_empty() => Ok((config, self.raw)),
            _ => Err(self.mistakes),
        }
    }
}

impl Config {
    /// Reads flags, environment and file, and checks them.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(matches: &clap::ArgMatches) -> Result<(Self, Raw), Mistakes> {
        Reading::of(matches).sound()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} in the configuration:",
            match self.0.len() {
                1 => "one mistake".to_owned(),
                count => format!("{count} mistakes"),
            }
        )?;
        for mistake in &self.0 {
            writeln!(f, "  - {mistake}")?;
        }
        write!(
            f,
            "try --help for what each option takes, or `portcullis check` for where each value comes from"
        )
    }
}

impl std::error::Error for Mistakes {}

/// What flags, environment and file say, with the mistakes of the file; what the values mean is not looked at.
pub(crate) fn gathered(matches: &clap::ArgMatches) -> (Raw, Vec<String>) {
    let known: Vec<_> = options().collect();
    gathered_of(&known, matches)
}

fn gathered_of(known: &[&'static Opt], matches: &clap::ArgMatches) -> (Raw, Vec<String>) {
    let mut mistakes = Vec::new();
    let env = |name: &str| std::env::var(name).ok();
    let raw = Raw::gather(matches, known, &env, &mut mistakes);
    let own = known.iter().map(|opt| opt.env());
    let names = own.chain(options::LEGACY.iter().map(|(name, _)| (*name).to_owned()));
    for name in names {
        if let Err(std::env::VarError::NotUnicode(_)) = std::env::var(&name) {
            mistakes.push(format!("environment {name}: it is not text (UTF-8)"));
        }
    }
    (raw, mistakes)
}

/// Warnings about environment variables that look like misspelt options.
pub fn suspicious_variables() -> Vec<String> {
    gather::suspicious(
        std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }),
    )
}
