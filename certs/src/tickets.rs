//! The session tickets of one generation (RFC 5077, RFC 8446 section 4.6.1).

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::server::ProducesTickets;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ticket_keys::TicketKeys;
use crate::verifier::ClientVerifier;

/// The tickets of one generation: the process's keys, bound to the generation's policy.
pub(crate) struct Tickets {
    keys: Arc<TicketKeys>,
    policy: [u8; 32],
    verifier: Option<Arc<ClientVerifier>>,
}

impl Tickets {
    pub(crate) fn new(
        keys: &Arc<TicketKeys>,
        policy: [u8; 32],
        verifier: Option<Arc<ClientVerifier>>,
    ) -> Self {
        Self {
            keys: Arc::clone(keys),
            policy,
            verifier,
        }
    }

    /// Whether the client of a session would be let in today. If not, the ticket does not open, and the handshake is one
    /// in full: there the client is told why, or shows the certificate it has got since. (Refused after the handshake, it
    /// would come with the same ticket again and again.)
    fn is_welcome(&self, session: &[u8]) -> bool {
        self.verifier
            .as_ref()
            .is_none_or(|verifier| verifier.verify_client(&client_chain(session)).is_ok())
    }
}

/// The client's chain in a session as rustls writes it down: a list of certificates as in the handshake, three bytes of
/// length before the list and before each. That is rustls' own affair and may change; what is not found here is found by
/// the look at `peer_certificates` after the handshake.
fn client_chain(session: &[u8]) -> Vec<CertificateDer<'_>> {
    // Behind a name, a version, a suite and a secret: not far from the beginning.
    (0..session.len().min(FARTHEST))
        .find_map(|at| certificate_list(&session[at..]))
        .unwrap_or_default()
}

/// A list of certificates at the beginning of some bytes, if there is one whose first is a certificate indeed.
fn certificate_list(bytes: &[u8]) -> Option<Vec<CertificateDer<'_>>> {
    let (mut list, _) = prefixed(bytes).filter(|(list, _)| !list.is_empty())?;
    let mut chain = Vec::new();
    while !list.is_empty() {
        let (der, rest) = prefixed(list)?;
        chain.push(CertificateDer::from(der));
        list = rest;
    }
    X509Certificate::from_der(&chain[0]).ok()?;
    Some(chain)
}

/// So many bytes as the first three say, and the rest.
fn prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<3>()?;
    let [a, b, c] = *length;
    rest.split_at_checked(u32::from_be_bytes([0, a, b, c]) as usize)
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        // A ticket has two bytes for its length, and a client's chain may be as long as that.
        if plain.len() > LARGEST {
            return None;
        }
        self.keys.seal(epoch(), &self.policy, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.keys
            .open(epoch(), &self.policy, ticket)
            .filter(|session| self.is_welcome(session))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

fn epoch() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs() / EPOCH
}

const EPOCH: u64 = 6 * 3600;
/// Seconds a client may keep a ticket: at most so long is any key accepted.
const LIFETIME: u32 = 12 * 3600;
/// Bytes of a session that is worth a ticket.
const LARGEST: usize = 16 * 1024;
/// Where in a session the client's chain begins, at the latest: a name has 255 bytes, a secret too.
const FARTHEST: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_fits_into_no_ticket_gets_none() {
        let tickets = Tickets::new(&Arc::default(), [0; 32], None);
        assert!(tickets.encrypt(&[0; LARGEST]).is_some());
        assert!(tickets.encrypt(&[0; LARGEST + 1]).is_none());
    }

    #[test]
    fn a_chain_is_found_behind_anything_and_nothing_is_made_of_other_bytes() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let der = made.cert.der();
        let length = |bytes: usize| (bytes as u32).to_be_bytes()[1..].to_vec();
        let one = [length(der.len()), der.to_vec()].concat();
        let two = [one.clone(), one.clone()].concat();
        for (list, count) in [(one, 1), (two, 2)] {
            let session = [vec![1; 77], length(list.len()), list, vec![9; 20]].concat();
            let chain = client_chain(&session);
            assert_eq!(chain.len(), count);
            assert_eq!(&chain[0], der);
            assert!(client_chain(&session[..session.len() - 30]).is_empty());
        }
        assert!(client_chain(&[0; 2000]).is_empty());
        assert!(client_chain(&[]).is_empty());
    }
}
