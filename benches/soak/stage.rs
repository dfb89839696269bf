//! The run from its beginning to its end: the sidecar and the applications, the load, the rest, the last requests, SIGTERM.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::app::App;
use crate::books::Books;
use crate::dial::{Dialer, Shown};
use crate::http1::{self, Talk};
use crate::pki::{Ca, Secret};
use crate::plan::{Kind, Plan, Wire};
use crate::rotation::Rotation;
use crate::samples::{self, Sample};
use crate::sidecar::Sidecar;
use crate::world::World;
use crate::{Options, http2, leavers, operator, summary, websocket};

/// What went wrong: the first of them, and how many there were.
pub(crate) struct Violations {
    pub(crate) told: Vec<String>,
    pub(crate) count: u64,
}

pub(crate) fn run(options: &Options) -> io::Result<(String, Violations)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(play(options))
}

async fn play(options: &Options) -> io::Result<(String, Violations)> {
    let (world, rotation) = set_up(options).await?;
    sleep(SETTLES).await;
    let baseline = Sample::take(&world.sidecar).await?;
    let began = Instant::now();
    let samples = load(&world, rotation, options).await;
    let lasted = began.elapsed();
    if world.sidecar.has_ended().is_none() {
        samples::rest(&world, &baseline).await?;
        let (_, metrics) = world.sidecar.probe("/metrics").await?;
        compare(&world, &metrics);
    }
    end(&world).await?;
    for what in samples::growing(&samples) {
        world.violated(what);
    }
    let ledger = world.books.lock();
    let tally = &ledger.tally;
    let violations = Violations {
        told: tally.violations.clone(),
        count: tally.violation_count,
    };
    Ok((summary::table(tally, &samples, lasted), violations))
}

async fn set_up(options: &Options) -> io::Result<(Arc<World>, Rotation)> {
    let books = Arc::<Books>::default();
    let apps = [
        App::start(0, Duration::from_millis(1_500), Arc::clone(&books)).await?,
        // Longer than the sidecar keeps a connection.
        App::start(1, Duration::from_secs(8), Arc::clone(&books)).await?,
    ];
    books.name([apps[0].url(), apps[1].url()]);
    books.target(0, true);
    let ca = Ca::new();
    let leaf = ca.leaf();
    let secret = Secret::holding(&leaf);
    let sidecar = Sidecar::start(
        &options.binary,
        &apps[0].url(),
        secret.path(),
        Arc::clone(&books),
    )
    .await?;
    let shown = Shown::default();
    shown.written(&leaf.der);
    shown.published();
    let dialer = Dialer::new(sidecar.https, &ca.certificate, Arc::clone(&books), shown);
    let world = World {
        dialer: dialer.map_err(io::Error::other)?,
        books,
        sidecar,
        apps,
        is_over: AtomicBool::new(false),
    };
    Ok((Arc::new(world), Rotation { ca, secret }))
}

/// Everything at once, until the time is over or the sidecar is gone.
async fn load(world: &Arc<World>, rotation: Rotation, options: &Options) -> Vec<Sample> {
    let mut seeds = fastrand::Rng::with_seed(options.seed);
    let mut all = JoinSet::new();
    for _ in 0..10 {
        all.spawn(http1::clients(Arc::clone(world), seeds.fork(), Wire::Kept));
    }
    for _ in 0..4 {
        all.spawn(http1::clients(Arc::clone(world), seeds.fork(), Wire::Once));
    }
    for _ in 0..4 {
        all.spawn(http2::clients(Arc::clone(world), seeds.fork()));
    }
    for _ in 0..3 {
        all.spawn(websocket::clients(Arc::clone(world), seeds.fork()));
    }
    for _ in 0..2 {
        all.spawn(leavers::clients(Arc::clone(world), seeds.fork()));
        all.spawn(operator::follows(Arc::clone(world), seeds.fork()));
    }
    all.spawn(operator::looks(Arc::clone(world), seeds.fork()));
    all.spawn(operator::moves(Arc::clone(world), seeds.fork()));
    all.spawn(rotation.run(Arc::clone(world), seeds.fork()));
    let samples = tokio::spawn(samples::take(Arc::clone(world)));
    let (end, mut told) = (Instant::now() + options.lasts, Instant::now());
    while Instant::now() < end && world.sidecar.has_ended().is_none() {
        sleep(Duration::from_millis(100)).await;
        if told.elapsed() > A_MINUTE {
            told = Instant::now();
            tell(world);
        }
    }
    world.is_over.store(true, Ordering::Relaxed);
    let are_over = async { while all.join_next().await.is_some() {} };
    if timeout(PATIENCE, are_over).await.is_err() {
        world.violated(format!("a client is not over {PATIENCE:?} after the load"));
    }
    samples.await.unwrap_or_default()
}

/// Who waits for hours wants to see that it lives.
#[expect(clippy::print_stdout, reason = "it is for whoever waits")]
fn tell(world: &World) {
    let ledger = world.books.lock();
    let (judged, open) = (ledger.tally.total(), ledger.open());
    let (rss, _) = world.sidecar.size().unwrap_or_default();
    let violations = ledger.tally.violation_count;
    println!("{judged} requests judged, {open} open, {violations} violations, RSS {rss} KiB");
}

/// As many requests are counted as there are records, and none was dropped.
fn compare(world: &World, metrics: &str) {
    let counted = samples::sum(metrics, "portcullis_requests_total");
    let recorded = world.books.lock().tally.exchanges;
    if counted != recorded {
        world.violated(format!(
            "{counted} requests are counted, {recorded} recorded"
        ));
    }
    let dropped = samples::sum(metrics, "portcullis_log_dropped_total");
    if dropped != 0 {
        world.violated(format!("{dropped} lines of the log were dropped"));
    }
}

/// SIGTERM while requests are open: they are served, everything is recorded, and it ends well.
async fn end(world: &Arc<World>) -> io::Result<()> {
    if world.sidecar.has_ended().is_none() {
        let mut last = last_requests(world);
        while Sample::take(&world.sidecar).await?.in_flight < last.len() as u64 {
            sleep(Duration::from_millis(20)).await;
        }
        world.sidecar.terminate()?;
        while last.join_next().await.is_some() {}
    }
    let ended = timeout(PATIENCE, async {
        loop {
            if let Some(status) = world.sidecar.has_ended() {
                return status;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    match ended.await {
        Ok(status) if status.code() == Some(0) => {}
        Ok(status) => world.violated(not_well(world, &format!("it ended with {status}"))),
        Err(_) => return Err(io::Error::other(not_well(world, "it does not end"))),
    }
    world.sidecar.is_read();
    world.books.give_up_older_than(Duration::ZERO);
    Ok(())
}

/// Requests that the application takes its time for.
fn last_requests(world: &Arc<World>) -> JoinSet<()> {
    let mut last = JoinSet::new();
    for number in 0..8 {
        let (world, mut rng) = (Arc::clone(world), fastrand::Rng::with_seed(number));
        last.spawn(async move {
            let mut plan = Plan::new(Kind::Download, Wire::Kept);
            (plan.down, plan.pause_ms) = (100_000, 6_000);
            if let Some(stream) = world.dialer.http1(&mut rng).await {
                Talk::new(stream).request(&world, &plan).await;
            }
        });
    }
    last
}

/// With the end of the sidecar's own log, which may say why.
fn not_well(world: &World, what: &str) -> String {
    let log = world.sidecar.own_log();
    let last = &log[log.len().saturating_sub(10)..];
    format!("{what}; its own log ends with\n    {}", last.join("\n    "))
}

const A_MINUTE: Duration = Duration::from_secs(60);
/// After the start, before the baseline.
const SETTLES: Duration = Duration::from_secs(1);
/// For everybody to end, and for the sidecar.
const PATIENCE: Duration = Duration::from_secs(60);
