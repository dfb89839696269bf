//! Where a collector takes spans.

use http::uri::PathAndQuery;

/// An URL of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `https`.
    pub is_secure: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What is asked for.
    pub path: PathAndQuery,
}
