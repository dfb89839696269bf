//! Portcullis: a TLS-terminating security sidecar.
//!
//! ```text
//!                          certs/  what we present and trust
//!                            │ current generation, taken once per connection
//!                            ▼
//!  listener ──► tls ──► http ──► forward ──► records ──► access log · ring · metrics · trace
//!   Accepted   Secured  Exchange   upstream                  │
//!      ▲                                                     ▼
//!      └──── phase: starting → ready → draining → stopped ── admin/  what an operator may ask
//! ```
//!
//! `connection` is the life of one connection, top to bottom. `app` composes; it and `wiring` are all that sees both the
//! rooms (`certs/`, `admin/`) and the house.
//!
//! # Words
//! *client*, *downstream*: who connects to us. *upstream*: the application's side. *target*: the upstream address.
//! *generation*: one proven set of certificate and key, numbered. *reload*: one attempt to publish a new generation.
//! *exchange*: one request and its response. *record*: what an exchange leaves behind. *reason*: the short stable word for
//! why something failed. *drain*: refuse, finish, cut. *admin plane*: may change state. *probe plane*: read only.

#![recursion_limit = "256"]

pub mod addresses;
pub mod app;
#[cfg(feature = "bench")]
pub mod benching;
pub mod check;
pub mod config;
pub mod demo;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod help;
pub mod kubernetes;
pub mod logging;
pub mod operator;
mod redirect;
pub mod restrict;
mod rewound;

mod byte_stream;
mod causes;
mod census;
mod client_tls;
mod conn;
mod connection;
mod crowd;
mod drain;
mod exposure;
mod failure;
mod forward;
mod headers;
mod http;
mod listener;
mod log_filter;
mod machine;
mod metrics;
mod origin;
mod own_dials;
mod panics;
mod phase;
mod places;
mod planes;
mod records;
mod signals;
mod tenure;
mod terminal;
mod tls;
mod trace;
mod upstream;
mod wire;
mod wiring;
mod worker;

/// What has to be done once before anything else: more file descriptors.
pub fn prepare() {
    machine::raise_descriptor_limit();
}
