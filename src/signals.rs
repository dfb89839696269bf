//! Signals as words. A future and nothing else.

use std::io;

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
    /// Their default action would end the process; they mean nothing here (yet).
    ignored: [Signal; 2],
}

impl Signals {
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            ignored: [
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
        })
    }

    /// The next wish.
    pub(crate) async fn next(&mut self) -> Wish {
        let [usr1, usr2] = &mut self.ignored;
        loop {
            tokio::select! {
                Some(()) = self.term.recv() => return Wish::Drain,
                Some(()) = self.int.recv() => return Wish::DrainNow,
                Some(()) = self.hup.recv() => return Wish::Reload,
                Some(()) = usr1.recv() => {}
                Some(()) = usr2.recv() => {}
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
