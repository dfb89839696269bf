//! Injection: a sidecar for what is already there, by a command over a manifest or by an admission webhook.

pub(crate) mod change;
mod mutate;
pub(crate) mod pod;
pub(crate) mod settings;
pub mod webhook;

pub(crate) use mutate::{Mutation, controller, mutate};
