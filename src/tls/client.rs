//! The client's side of a handshake that went well: who it is, and for how long that holds.

use std::sync::Arc;

use portcullis_certs::{Generation, Identity, Store};
use rustls::pki_types::CertificateDer;
use rustls::{CommonState, HandshakeKind};

use super::words::refused_client;
use crate::conn::Peer;
use crate::failure::Reason;
use crate::headers;
use crate::tenure::Tenure;
use crate::worker::Worker;

/// rustls checks neither dates nor CRLs of a client that resumes a session; and a client that was slow has been judged by a
/// trust that may have changed since. So the current verifier judges again (promise 2).
pub(super) fn verify_again(
    tls: &CommonState,
    generation: &Generation,
    store: &Store,
) -> Result<(), (Reason, String)> {
    let current = store.current();
    let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    if !is_resumed && generation.verifies_like(&current) {
        return Ok(());
    }
    let chain = tls.peer_certificates().unwrap_or_default();
    current.verify_client(chain).map_err(refused_client)
}

pub(super) fn peer(tls: &CommonState, sni: Option<&str>, generation: &Generation) -> Option<Peer> {
    let leaf = tls.peer_certificates()?.first()?;
    let identity = Identity::read(leaf)?;
    let own = generation.shown(sni);
    Some(Peer {
        name: identity.name().into(),
        forwarded: headers::client_certificate(&identity, own),
    })
}

pub(super) fn tenure(tls: &CommonState, generation: &Arc<Generation>, worker: &Worker) -> Tenure {
    let tenure = Tenure::aged(
        worker.config.limits.max_connection_age,
        worker.config.limits.max_requests_per_connection,
    );
    match tls.peer_certificates() {
        Some(chain) if worker.config.close_on_trust_change => tenure.trusting(
            chain
                .iter()
                .cloned()
                .map(CertificateDer::into_owned)
                .collect(),
            Arc::clone(generation),
            Arc::clone(&worker.certificates),
        ),
        _ => tenure,
    }
}
