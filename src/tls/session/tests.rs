//! A session and a client of rustls', without a network between them.

use std::io::{Cursor, Read, Write};

use bytes::Buf;
use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::*;

/// A client and a session that know each other, and what the client has sent that the session has not seen.
struct Pair {
    client: ClientConnection,
    session: Session,
    sent: Vec<u8>,
    /// What the session has opened.
    opened: Vec<u8>,
    /// What the client has opened.
    got: Vec<u8>,
}

/// A server and a client that trusts it.
fn configs(version: &'static SupportedProtocolVersion) -> (ServerConfig, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let leaf = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(leaf).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
}

impl Pair {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let (server, client) = configs(version);
        Self::of(&Arc::new(server), &Arc::new(client))
    }

    fn of(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("a.test").unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        client.set_buffer_limit(None);
        Self {
            client,
            session: Session::new(Arc::clone(server)).unwrap(),
            sent: Vec::new(),
            opened: Vec::new(),
            got: Vec::new(),
        }
    }

    /// Lets the session see so many bytes more of what the client sends; as many as `take` takes go past what it keeps.
    fn see(&mut self, count: usize, most: usize) -> Result<(), rustls::Error> {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.sent).unwrap();
        }
        let now = self.sent.drain(..count.min(self.sent.len()));
        let mut bytes = [self.session.begun(), &now.collect::<Vec<_>>()].concat();
        let opened = &mut self.opened;
        let before = opened.len();
        let (taken, result) = self.session.open(&mut bytes, most, &mut |bytes| {
            opened.extend_from_slice(bytes);
        });
        assert!(taken <= most && opened.len() == before + taken);
        opened.extend_from_slice(self.session.opened());
        self.session.opened().clear();
        result
    }

    /// Lets the client see all that the session says.
    fn answer(&mut self) {
        let mut said = Cursor::new(self.session.sealed().split());
        while said.has_remaining() {
            self.client.read_tls(&mut said).unwrap();
            let state = self.client.process_new_packets().unwrap();
            // It takes no more than it has room for.
            let mut come = vec![0; state.plaintext_bytes_to_read()];
            self.client.reader().read_exact(&mut come).unwrap();
            self.got.append(&mut come);
        }
    }

    fn settle(&mut self, cuts: &mut impl Iterator<Item = usize>) {
        while self.client.wants_write() || !self.sent.is_empty() {
            self.see(cuts.next().unwrap(), cuts.next().unwrap())
                .unwrap();
            self.answer();
        }
    }
}

fn cuts(choices: &[u16]) -> impl Iterator<Item = usize> {
    let sizes = choices.iter().cycle();
    sizes.map(|size| usize::from(*size) + 1)
}

fn filled(size: usize) -> Vec<u8> {
    (0..size).map(|byte| (byte % 251) as u8).collect()
}

fn versions() -> impl Strategy<Value = &'static SupportedProtocolVersion> {
    prop_oneof![Just(&TLS12), Just(&TLS13)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_pieces_are_both_sides_get_what_the_other_has_sent(
        version in versions(),
        choices in prop::collection::vec(prop_oneof![0..40u16, any::<u16>()], 1..40),
        sizes in prop::collection::vec(0..100_000usize, 0..6),
    ) {
        let mut cuts = cuts(&choices);
        let mut pair = Pair::new(version);
        pair.settle(&mut cuts);
        prop_assert!(!pair.session.state().is_handshaking());
        for size in &sizes {
            let body = filled(*size);
            pair.client.writer().write_all(&body).unwrap();
            if version == &TLS13 {
                pair.client.refresh_traffic_keys().unwrap();
            }
            pair.settle(&mut cuts);
            prop_assert!(pair.opened == body);
            pair.opened.clear();

            let mut rest = &body[..];
            let (mut plain, mut room) = (vec![0; RECORD], vec![0; HELD + 1024]);
            while !rest.is_empty() {
                let first = cuts.next().unwrap().min(rest.len());
                let (first, second) = rest.split_at(first);
                let parts = [IoSlice::new(first), IoSlice::new(&[]), IoSlice::new(second)];
                let (taken, written) = pair.session.seal(&parts, &mut plain, &mut room).unwrap();
                prop_assert!(taken == rest.len().min(HELD));
                pair.session.sealed().extend_from_slice(&room[..written]);
                pair.answer();
                prop_assert!(pair.got == rest[..taken]);
                pair.got.clear();
                rest = &rest[taken..];
            }
            prop_assert!(pair.session.begun().is_empty());
        }
        pair.client.send_close_notify();
        pair.settle(&mut cuts);
        prop_assert!(pair.session.has_ended());
        pair.session.seal_end().unwrap();
        pair.answer();
        prop_assert_eq!(pair.client.reader().read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn what_was_changed_on_the_way_ends_the_session_and_nothing_else(
        version in versions(),
        choices in prop::collection::vec(prop_oneof![0..40u16, any::<u16>()], 1..40),
        at in 0..5000usize,
        flip in 1..=255u8,
    ) {
        let mut cuts = cuts(&choices);
        let mut pair = Pair::new(version);
        let (mut seen, mut has_failed) = (0, false);
        for _ in 0..6 {
            if !pair.client.is_handshaking() {
                // It may have been told why already.
                let _ = pair.client.writer().write_all(&filled(900));
            }
            while !has_failed && (pair.client.wants_write() || !pair.sent.is_empty()) {
                while pair.client.wants_write() {
                    pair.client.write_tls(&mut pair.sent).unwrap();
                }
                if let Some(byte) = at.checked_sub(seen).and_then(|at| pair.sent.get_mut(at)) {
                    *byte ^= flip;
                }
                let count = cuts.next().unwrap().min(pair.sent.len());
                seen += count;
                has_failed = pair.see(count, usize::MAX).is_err();
                if at < seen {
                    // A broken byte, so that it is not changed back.
                    seen += 5000;
                }
            }
            let mut said = Cursor::new(pair.session.sealed().split());
            // The client may find it wrong, too.
            let _ = pair.client.read_tls(&mut said);
            let _ = pair.client.process_new_packets();
        }
        let parts = [IoSlice::new(b"x")];
        let sealed = pair.session.seal(&parts, &mut [0; RECORD], &mut [0; HELD]);
        prop_assert!(!has_failed || sealed.is_err());
        prop_assert!(pair.session.seal_end().is_ok() || !has_failed);
    }
}

#[test]
fn a_message_without_an_end_is_given_up() {
    let mut pair = Pair::new(&TLS13);
    // A ClientHello of 65,535 bytes, of which each record has one.
    let mut bytes = vec![22, 3, 1, 0, 4, 1, 0, 255, 255];
    (0..60_000).for_each(|_| bytes.extend_from_slice(&[22, 3, 1, 0, 1, 0]));
    let refused = bytes.chunks(RECORD).find_map(|piece| {
        let mut bytes = [pair.session.begun(), piece].concat();
        let (_, opened) = pair.session.open(&mut bytes, 0, &mut |_| {});
        assert!(pair.session.begun().len() <= LONGEST);
        opened.err()
    });
    assert!(matches!(
        refused,
        Some(rustls::Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge
        ))
    ));
}

#[test]
fn an_alert_behind_other_words_reaches_the_client() {
    let (mut server, mut client) = configs(&TLS13);
    server.alpn_protocols = vec![b"h2".to_vec()];
    client.alpn_protocols = vec![b"other".to_vec()];
    let mut pair = Pair::of(&Arc::new(server), &Arc::new(client));
    let refused = pair.see(RECORD, 0).unwrap_err();
    assert_eq!(refused, rustls::Error::NoApplicationProtocol);
    let mut said = Cursor::new(pair.session.sealed().split());
    while said.has_remaining() {
        pair.client.read_tls(&mut said).unwrap();
    }
    let told = pair.client.process_new_packets().unwrap_err();
    let alert = rustls::AlertDescription::NoApplicationProtocol;
    assert_eq!(told, rustls::Error::AlertReceived(alert));
}

#[test]
fn early_data_for_somebody_else_is_passed_by() {
    let (mut server, mut client) = configs(&TLS13);
    server.max_early_data_size = 16 * 1024;
    client.enable_early_data = true;
    let (before, client) = (Arc::new(server.clone()), Arc::new(client));
    Pair::of(&before, &client).settle(&mut cuts(&[u16::MAX]));

    // It was started anew since, and takes none.
    server.max_early_data_size = 0;
    server.session_storage = rustls::server::ServerSessionMemoryCache::new(1);
    let mut pair = Pair::of(&Arc::new(server), &client);
    let early = filled(7_000);
    let mut writer = pair.client.early_data().unwrap();
    writer.write_all(&early).unwrap();
    pair.settle(&mut cuts(&[u16::MAX]));
    assert!(!pair.session.state().is_handshaking());
    assert!(pair.opened.is_empty());
}
