//! Certificates renewed as the kubelet does it, good ones and bad ones.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::pki::{Ca, Leaf, Secret};
use crate::sidecar::PATIENCE;
use crate::world::World;

/// What is rotated.
pub(crate) struct Rotation {
    pub(crate) ca: Ca,
    pub(crate) secret: Secret,
}

impl Rotation {
    pub(crate) async fn run(mut self, world: Arc<World>, mut rng: fastrand::Rng) {
        while world.goes_on() {
            world.pause(&mut rng, 300..3_000).await;
            let done = if rng.u8(..3) == 0 {
                self.break_and_repair(&world, &mut rng).await
            } else {
                self.renew(&world).await
            };
            if let Err(error) = done {
                world.violated(format!("rotation: {error}"));
            }
        }
    }

    /// A good one is published.
    async fn renew(&mut self, world: &World) -> io::Result<()> {
        let before = Count::Published.now(world).await?;
        let leaf = self.ca.leaf();
        world.dialer.shown.written(&leaf.der);
        self.secret.swap(&leaf);
        more_than(world, Count::Published, before).await?;
        world.dialer.shown.published();
        world.happened("rotations");
        Ok(())
    }

    /// A bad one changes nothing, and says so; then a good one takes its place.
    async fn break_and_repair(&mut self, world: &World, rng: &mut fastrand::Rng) -> io::Result<()> {
        let before = Count::Published.now(world).await?;
        let failed = Count::Failed.now(world).await?;
        let (certificate, key) = broken(&self.ca, rng);
        self.secret.swap_files(&certificate, &key);
        more_than(world, Count::Failed, failed).await?;
        for _ in 0..3 {
            // Whoever comes now is shown the one before.
            drop(world.dialer.http1(rng).await);
        }
        let (status, answer) = world.sidecar.admin("POST", "/certs/reload", "").await?;
        if status != 409 {
            return Err(io::Error::other(format!(
                "a bad one is reported as done: {answer}"
            )));
        }
        if Count::Published.now(world).await? != before {
            return Err(io::Error::other("a bad one changed the generation"));
        }
        world.happened("bad rotations");
        self.renew(world).await
    }
}

/// A certificate and a key that do not belong together, or one of them cut.
fn broken(ca: &Ca, rng: &mut fastrand::Rng) -> (String, String) {
    let Leaf {
        certificate, key, ..
    } = ca.leaf();
    let half = |text: &str| text[..text.len() / 2].to_owned();
    match rng.u8(..4) {
        0 => (half(&certificate), key),
        1 => (certificate, half(&key)),
        2 => (String::new(), key),
        _ => (certificate, ca.leaf().key),
    }
}

/// What the sidecar has done with what it found.
#[derive(Clone, Copy, Debug)]
enum Count {
    /// The generation that is served.
    Published,
    /// Reloads that failed.
    Failed,
}

impl Count {
    async fn now(self, world: &World) -> io::Result<u64> {
        if matches!(self, Self::Published) {
            let certificates = world.sidecar.admin_json("/certs").await?;
            let generation = certificates["generation"].as_u64();
            return generation.ok_or_else(|| io::Error::other(certificates.to_string()));
        }
        let (_, metrics) = world.sidecar.probe("/metrics").await?;
        let is_failed = |line: &&str| {
            line.starts_with("portcullis_certificate_reloads_total{")
                && line.contains("result=\"failed\"")
        };
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        let failed: f64 = metrics.lines().filter(is_failed).filter_map(value).sum();
        Ok(failed as u64)
    }
}

async fn more_than(world: &World, what: Count, before: u64) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while what.now(world).await? <= before {
        if Instant::now() > end {
            return Err(io::Error::other(format!(
                "still not more than {before}: {what:?}"
            )));
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
