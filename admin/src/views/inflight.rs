//! What there is to say of what is open.

use serde::Serialize;
use utoipa::ToSchema;

/// The body of `GET /inflight`.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct InflightView {
    /// How many are open, also those that `entries` leaves out.
    pub total: usize,
    /// Worker threads that were asked.
    pub workers_asked: usize,
    /// Those that have answered in time. What the others have open is not counted.
    pub workers_answered: usize,
    /// Oldest first.
    pub entries: Vec<InflightEntry>,
}

/// One exchange or tunnel that is open.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InflightEntry {
    /// The id that its record will have.
    pub id: String,
    /// `exchange` or `tunnel`.
    pub kind: &'static str,
    /// Milliseconds since it began.
    pub age_ms: u64,
    /// The client's address.
    pub client: String,
    /// Who the client is by its certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The request's method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The host that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path, without the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `1.0`, `1.1` or `2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<&'static str>,
    /// Whose move it is: `client`, `upstream`, `both` or `nobody`.
    pub waiting_for: &'static str,
    /// Bytes of the request's body so far.
    pub bytes_in: u64,
}
