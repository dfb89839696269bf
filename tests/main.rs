//! One integration binary. Everything runs over real sockets against the real executable, with certificates made on the
//! spot; ports are picked by the system, and whatever has to be waited for is observed.

// A test that cannot go on says so by panicking, in helpers as in the tests themselves.
#![expect(clippy::unwrap_used)]

mod support;

/// How records are written, where to, and what of them.
mod access_log;
/// The admin and probe planes as an operator sees them.
mod admin;
/// Who is let in to the admin plane, and how it is reached.
mod admin_entry;
/// The application's own health, asked through the sidecar.
mod app_health;
/// Large bodies with bounded memory.
mod bodies;
/// Applications that can be reached past the sidecar.
mod bypass;
/// Rotation, refusal and late arrival of certificates.
mod certificates;
/// Who is let in, by certificate.
mod client_auth;
/// What is around a running sidecar.
mod doctor;
/// The end, step by step, and what happens when there is too much, or a defect.
mod draining;
/// Records as they come, and what is open now.
mod followers;
/// Requests and responses on their way, over HTTP/1 and HTTP/2.
mod forwarding;
/// gRPC in all four kinds.
mod grpc;
/// Frames of HTTP/2 that make no sense, or too many that do.
mod h2_frames;
/// Applications that speak HTTP/2.
mod h2c;
/// TLS versions, ALPN, deadlines.
mod handshake;
/// What is sent to be read in two ways, by clients and by applications, row by row.
mod hostile;
/// Manifests with the sidecar put in, and taken out again.
mod injection;
/// Expect, 100 and 103, and answers that come early.
mod interim;
/// Connections to the application that are kept, and go stale.
mod kept_connections;
/// Import directions, file sizes, module docs.
mod layering;
/// What old applications need to understand new clients.
mod legacy;
/// Waits, sizes and numbers that have a limit, and what happens beyond it.
mod limits;
/// Numbers that are true, and as many series as there are kinds of things.
mod metrics;
/// Applications that are away, slow or broken.
mod misbehaving_apps;
/// Malformed requests, clients that leave, time limits.
mod misbehaving_clients;
/// What an operator may look at and change of the process itself.
mod operation;
/// The client commands.
mod operator;
/// The client commands that change something.
mod operator_commands;
/// Exit codes, signals, configuration mistakes, `check` and `demo`.
mod process;
/// Load balancers and proxies in front, and what is believed of what they say.
mod proxies;
/// What a record says, and that there is exactly one.
mod records;
/// The plain HTTP listener.
mod redirect;
/// What the process has given up, seen from outside.
mod restrictions;
/// Connections that end although the sidecar stays.
mod retirement;
/// Certificates renewed under load, and seen with a client's eyes.
mod rotation;
/// Several certificates, chosen by name.
mod sni;
/// The target, changed as a transaction.
mod target;
/// Sessions resumed, by whom and for how long.
mod tickets;
/// Traces: continued, begun, told to the application, and sent to collectors.
mod traces;
/// Where spans go, and what becomes of a sidecar whose collector is away.
mod traces_export;
/// Nothing is changed but what is documented.
mod transparency;
/// WebSocket and other protocols, over HTTP/1 and HTTP/2.
mod upgrades;
/// The admission webhook, as the API server sees it.
mod webhook;
