//! Who asks, for the audit records of what is changed.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::server::Peer;

/// Whoever sent a request that was let in.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// None where the request did not come over a connection of ours, as in tests of a router.
    pub(super) peer: Option<Peer>,
    /// The name of the token that it has shown.
    pub(super) token: Option<Arc<str>>,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(token) = &self.token {
            write!(f, "token {token} of ")?;
        }
        match &self.peer {
            Some(peer) => write!(f, "{peer}"),
            None => f.write_str("nobody known"),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}
