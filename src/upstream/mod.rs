//! The application's side: which target, how to reach it, and the connections kept to it.

mod ask;
mod connect;
mod dialer;
mod h1;
mod h2;
mod patience;
mod pool;
mod stream;
mod target;
mod targets;

#[cfg(test)]
pub(crate) use connect::DialError;
pub(crate) use target::{Endpoint, Protocol, Target, TargetUrl, host_and_port, shown};
pub(crate) use targets::{
    Change, Changed, Checked, OwnPorts, OwnSocket, Probe, Refused, Rollback, Standing, Targets,
    refuse,
};

pub(crate) use ask::{Answered, AskError, KeepAlive, ask};
pub(crate) use dialer::Dialer;
pub(crate) use h1::{Asking, Failure, Heard, Incoming, Rest};
pub(crate) use h2::{Multiplex, Share};
pub(crate) use pool::{Lease, Pool};
