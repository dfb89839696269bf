//! What an operator does meanwhile: another target, an application restarted, a look at the planes, records followed.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::world::World;

/// Moves the target and restarts applications: never both at once, so that a target is never probed while it is away.
pub(crate) async fn moves(world: Arc<World>, mut rng: fastrand::Rng) {
    let mut current = 0;
    while world.goes_on() {
        world.pause(&mut rng, 1_000..4_000).await;
        let done = if rng.bool() {
            current = 1 - current;
            change_target(&world, current).await
        } else {
            restart(&world, &mut rng).await
        };
        if let Err(error) = done {
            world.violated(format!("the target, or an application: {error}"));
        }
    }
}

async fn change_target(world: &World, to: usize) -> io::Result<()> {
    let body = json!({"url": world.apps[to].url()}).to_string();
    world.books.target(to, false);
    let (status, answer) = world.sidecar.admin("PUT", "/target", &body).await?;
    if status != 200 {
        return Err(io::Error::other(format!("PUT /target: {status}, {answer}")));
    }
    world.books.target(to, true);
    world.happened("target changes");
    Ok(())
}

/// The time away is well within `--connect-retry-for`.
async fn restart(world: &World, rng: &mut fastrand::Rng) -> io::Result<()> {
    let away = Duration::from_millis(rng.u64(10..900));
    world.apps[rng.usize(..2)].restart(away).await?;
    world.happened("applications restarted");
    Ok(())
}

/// Looks at everything there is to look at.
pub(crate) async fn looks(world: Arc<World>, mut rng: fastrand::Rng) {
    let paths = [
        "/status",
        "/inflight",
        "/logs?limit=50",
        "/target",
        "/certs",
        "/config",
        "/metrics",
        "/readyz",
    ];
    while world.goes_on() {
        let path = rng.choice(paths).unwrap_or_default();
        match world.sidecar.admin("GET", path, "").await {
            Ok((200, _)) => world.happened("looks at the admin plane"),
            Ok((status, body)) => world.violated(format!("{path}: {status}, {body}")),
            Err(error) => world.violated(format!("{path}: {error}")),
        }
        world.pause(&mut rng, 50..1_000).await;
    }
}

/// Follows the records for a while, again and again.
pub(crate) async fn follows(world: Arc<World>, mut rng: fastrand::Rng) {
    while world.goes_on() {
        let until = Instant::now() + Duration::from_millis(rng.u64(500..15_000));
        match follow(&world, until).await {
            Ok(()) => world.happened("followers"),
            Err(error) => world.violated(format!("a follower: {error}")),
        }
        world.pause(&mut rng, 100..2_000).await;
    }
}

/// Each record comes once, and none is missed by one who reads.
async fn follow(world: &World, until: Instant) -> io::Result<()> {
    let mut stream = TcpStream::connect(world.sidecar.admin).await?;
    stream
        .write_all(b"GET /logs?follow=true HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n")
        .await?;
    let mut lines = BufReader::new(stream).lines();
    let mut seen = HashSet::new();
    while world.goes_on() {
        let Ok(line) = timeout_at(until, lines.next_line()).await else {
            break;
        };
        let line = line?.ok_or_else(|| io::Error::other("the stream ended"))?;
        // What stands around the records is HTTP's.
        if !line.starts_with('{') {
            continue;
        }
        let record: Value = serde_json::from_str(&line).map_err(io::Error::other)?;
        let id = record["id"].as_str().unwrap_or_default().to_owned();
        let is_heartbeat = record["kind"] == "heartbeat";
        if !is_heartbeat && (id.is_empty() || !seen.insert(id)) {
            return Err(io::Error::other(format!("missed, or seen twice: {line}")));
        }
    }
    let mut ledger = world.books.lock();
    *ledger.tally.events.entry("records followed").or_default() += seen.len() as u64;
    Ok(())
}
