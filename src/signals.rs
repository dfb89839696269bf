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
    /// SIGUSR1: open the log file again.
    Reopen,
}

/// The handlers, installed once.
#[derive(Debug)]
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
    /// Its default action would end the process; it means nothing here.
    usr2: Signal,
}

impl Signals {
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next wish.
    pub(crate) async fn next(&mut self) -> Wish {
        loop {
            tokio::select! {
                Some(()) = self.term.recv() => return Wish::Drain,
                Some(()) = self.int.recv() => return Wish::DrainNow,
                Some(()) = self.hup.recv() => return Wish::Reload,
                Some(()) = self.usr1.recv() => return Wish::Reopen,
                Some(()) = self.usr2.recv() => {}
                else => std::future::pending().await,
            }
        }
    }

    /// The next wish to end.
    pub(crate) async fn ending(&mut self) -> Wish {
        loop {
            match self.next().await {
                Wish::Reload | Wish::Reopen => {}
                ending => return ending,
            }
        }
    }
}
