//! What there is to say of the application itself.

use serde::Serialize;
use utoipa::ToSchema;

/// The body of `GET /app` where the application is well.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AppView {
    /// `ok`.
    pub status: &'static str,
    /// The status code that the application answered.
    pub app_status: u16,
    /// The target that was asked.
    pub target: String,
    /// What it was asked for.
    pub path: String,
    /// The address that answered; absent for a Unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Why the application is not well.
#[derive(Clone, Debug)]
pub struct AppTrouble {
    /// `app_unreachable`, `app_status` or `app_timeout`.
    pub reason: &'static str,
    /// What was asked, and what came of it.
    pub detail: String,
}

/// Where the application can be reached past the sidecar.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BypassView {
    /// The target's port.
    pub port: u16,
    /// The addresses on which something listens on this port that is not the loopback; empty is as it should be.
    pub reachable_at: Vec<String>,
}
