//! How large the sidecar is, second by second, and whether that grows.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::sidecar::Sidecar;
use crate::world::World;

/// One look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) rss_kib: u64,
    pub(crate) fds: u64,
    pub(crate) threads: u64,
    pub(crate) connections: u64,
    pub(crate) upstream: u64,
    pub(crate) in_flight: u64,
}

/// What is watched: its name, where it stands, and by how much its median may grow from the first third of a run to the last,
/// as a share and as an amount.
pub(crate) struct Watched {
    pub(crate) name: &'static str,
    pub(crate) of: fn(&Sample) -> u64,
    share: f64,
    amount: f64,
}

const fn watched(name: &'static str, of: fn(&Sample) -> u64, share: f64, amount: f64) -> Watched {
    Watched {
        name,
        of,
        share,
        amount,
    }
}

/// The load varies at random, and with it what it needs; a leak of one in a hundred requests is more than this within minutes.
pub(crate) const WATCHED: [Watched; 6] = [
    watched("RSS KiB", |sample| sample.rss_kib, 0.05, 3_072.0),
    watched("fds", |sample| sample.fds, 0.25, 10.0),
    watched("threads", |sample| sample.threads, 0.0, 2.0),
    watched("connections", |sample| sample.connections, 0.25, 10.0),
    watched("upstream", |sample| sample.upstream, 0.25, 10.0),
    watched("in flight", |sample| sample.in_flight, 0.25, 5.0),
];

/// Takes samples for as long as the soak goes on, and gives up what has no record for too long.
pub(crate) async fn take(world: Arc<World>) -> Vec<Sample> {
    let mut samples = Vec::new();
    while world.goes_on() {
        let next = Instant::now() + Duration::from_secs(1);
        match Sample::take(&world.sidecar).await {
            Ok(sample) => samples.push(sample),
            Err(error) => world.violated(format!("no sample: {error}")),
        }
        world.books.give_up_older_than(LATE);
        tokio::time::sleep_until(next).await;
    }
    samples
}

impl Sample {
    pub(crate) async fn take(sidecar: &Sidecar) -> io::Result<Self> {
        let (_, metrics) = sidecar.probe("/metrics").await?;
        let gauge = |name: &str| sum(&metrics, name);
        let (rss_kib, threads) = sidecar.size()?;
        Ok(Self {
            rss_kib,
            threads,
            fds: fs::read_dir(format!("/proc/{}/fd", sidecar.pid))?.count() as u64,
            connections: gauge("portcullis_connections"),
            upstream: gauge("portcullis_upstream_connections"),
            in_flight: gauge("portcullis_requests_in_flight"),
        })
    }

    /// What is left when nothing goes on. Memory stays with its allocator; and so do some threads with the blocking pool, which
    /// ends one that had nothing to do for ten seconds, while what is looked at every ten seconds may keep each in turn.
    fn is_at_rest(&self, baseline: &Self) -> bool {
        let open = self.connections + self.upstream + self.in_flight;
        open == 0 && self.fds <= baseline.fds && self.threads <= baseline.threads + BLOCKING
    }
}

/// The sum over all series of a metric.
pub(crate) fn sum(metrics: &str, name: &str) -> u64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let is_whole = rest.starts_with(['{', ' ']);
        rest.rsplit(' ')
            .next()
            .filter(|_| is_whole)?
            .parse::<f64>()
            .ok()
    };
    metrics.lines().filter_map(value).sum::<f64>() as u64
}

/// Waits until everything is as it was before the load.
pub(crate) async fn rest(world: &World, baseline: &Sample) -> io::Result<Sample> {
    let end = Instant::now() + REST;
    loop {
        let sample = Sample::take(&world.sidecar).await?;
        if sample.is_at_rest(baseline) && world.books.are_settled() {
            return Ok(sample);
        }
        if Instant::now() > end {
            world.violated(format!(
                "{REST:?} after the load not all is given back:\n    before {baseline:?}\n    now    {sample:?}"
            ));
            return Ok(sample);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// What grows: the medians of the first and the last third behind the warm-up are compared.
pub(crate) fn growing(samples: &[Sample]) -> Vec<String> {
    let samples = &samples[samples.len() / WARM_UP..];
    let third = samples.len() / 3;
    if third < ENOUGH {
        return Vec::new();
    }
    let grows = |watched: &Watched| {
        let first = median(&samples[..third], watched.of);
        let last = median(&samples[samples.len() - third..], watched.of);
        let most = first as f64 * (1.0 + watched.share) + watched.amount;
        let name = watched.name;
        (last as f64 > most)
            .then(|| format!("{name} grew from {first} to {last} (medians; at most {most:.0})"))
    };
    WATCHED.iter().filter_map(grows).collect()
}

pub(crate) fn median(samples: &[Sample], of: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<_> = samples.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// This part of a run is its warm-up: caches, pools and the ring fill.
const WARM_UP: usize = 4;
/// Samples in a third, without which a median says nothing.
const ENOUGH: usize = 10;
/// A record is there within this time, or never.
const LATE: Duration = Duration::from_secs(60);
/// Threads of the blocking pool.
const BLOCKING: u64 = 2;
/// For idle connections to the application, and threads without work, to end.
const REST: Duration = Duration::from_secs(30);
