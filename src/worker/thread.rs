//! The thread of a worker, from its start to its last word.

use std::io;
use std::rc::Rc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;

use super::{Doors, Shared, Worker};
use crate::census::Ends;
use crate::phase::Phase;
use crate::records;

/// How a worker ended: what became of its connections, or none when it failed.
pub(crate) type End = Option<Ends>;

/// Starts a worker. When it has ended, however it did, it says so.
///
/// # Errors
/// When the thread cannot be started.
pub(crate) fn start(
    number: usize,
    shared: Shared,
    doors: Doors,
    ended: mpsc::UnboundedSender<End>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || {
            let mut farewell = Farewell { ended, end: None };
            records::batch();
            match live(shared, doors) {
                Ok(ends) => farewell.end = Some(ends),
                Err(error) => tracing::error!(%error, number, "a worker failed"),
            }
        })
}

/// Said on drop, so that a panic says it, too.
struct Farewell {
    ended: mpsc::UnboundedSender<End>,
    end: End,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        records::hand_over();
        // The control thread may have given up waiting.
        let _ = self.ended.send(self.end);
    }
}

fn live(shared: Shared, doors: Doors) -> io::Result<Ends> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .on_thread_park(records::hand_over)
        .build_local(LocalOptions::default())?;
    let generations = shared.generations.clone();
    let questions = shared.roll.enter();
    let worker = Worker::new(shared);
    let inflight = Rc::clone(&worker.site.inflight);
    let book = Rc::clone(&worker.book);
    runtime.block_on(async {
        spawn_local(inflight.answer(questions));
        run(worker, doors, generations).await
    })?;
    // Dropping the runtime drops what is left: each exchange in it leaves its record as cut.
    book.begin_cutting();
    drop(runtime);
    Ok(book.ends())
}

async fn run(
    worker: Rc<Worker>,
    doors: Doors,
    generations: watch::Receiver<u64>,
) -> io::Result<()> {
    let mut accepting = spawn_local(Rc::clone(&worker).accept(doors));
    let sweeping = spawn_local(Rc::clone(&worker).sweep());
    let watching = spawn_local(Rc::clone(&worker.watch).keep());
    if worker.config.close_on_trust_change {
        spawn_local(Rc::clone(&worker).follow(generations));
    }
    tokio::select! {
        () = worker.site.life.reached(Phase::Finishing) => accepting.abort(),
        // Accepting never ends by itself.
        ended = &mut accepting => ended.map_err(io::Error::other)??,
    }
    worker.changed.notify_waiters();
    tokio::select! {
        () = worker.until_empty() => {}
        () = worker.site.life.reached(Phase::Cutting) => {}
    }
    sweeping.abort();
    worker.site.meter.conns.is_over();
    watching.abort();
    Ok(())
}
