//! Signals as words. A future and nothing else.

use std::convert::Infallible;
use std::io;

use rustix::process::{WaitOptions, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the outside wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// SIGTERM: drain.
    Drain,
    /// SIGINT: drain without the delay.
    DrainNow,
    /// SIGHUP: read the hot files again.
    Reload,
}

/// The handlers, installed once.
#[derive(Debug)]
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    /// Their default action would end the process; they mean nothing here. A log file that has reached the largest size that
    /// the process may write (SIGXFSZ) is as good as a full disk.
    ignored: [Signal; 2],
}

impl Signals {
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            ignored: [
                signal(SignalKind::user_defined2())?,
                signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
            ],
        })
    }

    /// The next wish.
    pub(crate) async fn next(&mut self) -> Wish {
        let [usr2, xfsz] = &mut self.ignored;
        loop {
            tokio::select! {
                Some(()) = self.term.recv() => return Wish::Drain,
                Some(()) = self.int.recv() => return Wish::DrainNow,
                Some(()) = self.hup.recv() => return Wish::Reload,
                Some(()) = usr2.recv() => {}
                Some(()) = xfsz.recv() => {}
                else => std::future::pending().await,
            }
        }
    }

    /// The next wish to end.
    pub(crate) async fn ending(&mut self) -> Wish {
        loop {
            match self.next().await {
                Wish::Reload => {}
                ending => return ending,
            }
        }
    }
}

/// SIGUSR1, which is obeyed until the end: a drain takes its time, and logs are rotated meanwhile.
#[derive(Debug)]
pub(crate) struct Rotation(Signal);

impl Rotation {
    pub(crate) fn install() -> io::Result<Self> {
        signal(SignalKind::user_defined1()).map(Self)
    }

    /// Calls `reopen` each time.
    pub(crate) async fn keep(mut self, reopen: impl Fn()) -> Infallible {
        loop {
            match self.0.recv().await {
                Some(()) => reopen(),
                None => std::future::pending().await,
            }
        }
    }
}

/// As the first process of a container it inherits those whose parents have ended, and has to take note of their ends: they would
/// stay as zombies.
#[derive(Debug)]
pub(crate) struct Orphans(Option<Signal>);

impl Orphans {
    pub(crate) fn install() -> io::Result<Self> {
        let is_first = rustix::process::getpid().is_init();
        let ended = is_first.then(|| signal(SignalKind::child()));
        ended.transpose().map(Self)
    }

    /// Takes note each time.
    pub(crate) async fn keep(mut self) -> Infallible {
        if let Some(ended) = &mut self.0 {
            while ended.recv().await.is_some() {
                // One signal may stand for several.
                while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            }
        }
        std::future::pending().await
    }
}
