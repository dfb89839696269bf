//! The application's side: which target, how to reach it, and the connections kept to it.

mod dial;
mod pool;
mod target;
mod targets;

pub(crate) use target::{Target, TargetUrl};
pub(crate) use targets::{OwnPorts, Targets};

pub(crate) use dial::dial;
pub(crate) use pool::{Lease, Pool};
