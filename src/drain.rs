//! The end: refuse, finish, cut.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::census::Ends;
use crate::phase::{Life, Phase};
use crate::signals::Signals;
use crate::worker;

/// How a drain ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drained {
    /// What became of the connections.
    pub(crate) ends: Ends,
    /// Workers that did not say, because they failed or did not end in time.
    pub(crate) lost: usize,
}

impl Drained {
    /// Connections that had to be cut; of a worker that did not say, one at least.
    pub(crate) fn cut(&self) -> usize {
        self.ends.cut.sum() + self.lost
    }
}

/// How long each part may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) delay: Duration,
    pub(crate) timeout: Duration,
}

/// Signals while something ends. Where a signal began it, the next one is impatient; where an operator did by the admin plane,
/// the first only says that the process is to go when all is over.
#[derive(Debug)]
pub(crate) struct Endings<'a> {
    signals: &'a mut Signals,
    /// Whether the process is to go.
    is_final: bool,
}

impl<'a> Endings<'a> {
    pub(crate) fn new(signals: &'a mut Signals, is_final: bool) -> Self {
        Self { signals, is_final }
    }

    /// Somebody does not want to wait any more.
    async fn impatient(&mut self) {
        loop {
            self.signals.ending().await;
            if self.is_final {
                return;
            }
            tracing::info!("draining: the process ends when that is done");
            self.is_final = true;
        }
    }

    /// The process is to go.
    pub(crate) async fn last(&mut self) {
        if !self.is_final {
            self.signals.ending().await;
        }
    }
}

/// Ends the workers' part of the process. `ended` yields one number a worker: the connections it cut.
pub(crate) async fn drain(
    life: &Life,
    endings: &mut Endings<'_>,
    patience: Patience,
    ended: &mut mpsc::UnboundedReceiver<worker::End>,
    workers: usize,
) -> Drained {
    let began = Instant::now();
    let was_serving = life.phase() == Phase::Ready;
    // Nobody was sent here before the first certificate, so nobody has to be told.
    let delay = if was_serving {
        patience.delay
    } else {
        Duration::ZERO
    };
    life.drain_until(began + delay + patience.timeout);
    tracing::info!(delay = ?patience.delay, timeout = ?patience.timeout, "draining: not ready any more, still accepting");
    let impatient = tokio::select! {
        () = sleep(delay) => false,
        () = endings.impatient() => true,
    };
    life.advance(Phase::Finishing);
    let mut finished = Finished {
        left: workers,
        drained: Drained::default(),
    };
    if !impatient {
        tracing::info!("draining: accepting no more, finishing what is in flight");
        tokio::select! {
            () = finished.wait(ended) => {}
            () = sleep(patience.timeout) => tracing::warn!("draining: out of time, cutting what is left"),
            () = endings.impatient() => tracing::warn!("draining: a second signal, cutting what is left"),
        }
    }
    life.advance(Phase::Cutting);
    if timeout(LAST_MOMENT, finished.wait(ended)).await.is_err() {
        tracing::error!(workers = finished.left, "workers did not end");
        finished.drained.lost += finished.left;
    }
    let drained = finished.drained;
    let Ends { drained: well, cut } = drained.ends;
    life.stop(drained);
    tracing::info!(
        took = ?began.elapsed(),
        drained = well.sum(),
        cut = drained.cut(),
        drained_by_kind = %well,
        cut_by_kind = %cut,
        "drained"
    );
    drained
}

/// Workers that have ended so far; kept when waiting for them is interrupted.
struct Finished {
    left: usize,
    drained: Drained,
}

impl Finished {
    async fn wait(&mut self, ended: &mut mpsc::UnboundedReceiver<worker::End>) {
        while self.left > 0 {
            match ended.recv().await {
                Some(Some(ends)) => {
                    self.drained.ends += ends;
                    self.left -= 1;
                }
                Some(None) => {
                    self.drained.lost += 1;
                    self.left -= 1;
                }
                None => self.drained.lost += std::mem::take(&mut self.left),
            }
        }
    }
}

/// For workers to drop what is left.
const LAST_MOMENT: Duration = Duration::from_secs(1);
