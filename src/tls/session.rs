//! TLS of one client's connection, without I/O: what comes is opened, what goes is sealed.
//!
//! rustls' buffered connections, which tokio-rustls drives, keep 4 KiB to read into for as long as they live, and read no more than
//! that at once. This one is rustls' unbuffered one: an idle connection keeps no bytes at all.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::BytesMut;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, WriteTraffic};
use rustls::{CommonState, InvalidMessage, ServerConfig};

use super::scratch::{HELD, RECORD};
use crate::byte_stream::pieces;

pub(super) struct Session {
    tls: UnbufferedServerConnection,
    /// The beginning of a record, or of a message in several of them: rustls looks at it again when there is more.
    begun: Vec<u8>,
    /// What was opened and nobody has taken yet.
    opened: BytesMut,
    /// What was sealed and has not been written yet.
    sealed: BytesMut,
    /// The client has said that it sends no more (RFC 8446, section 6.1).
    has_ended: bool,
    /// Nothing more is read or written.
    has_failed: bool,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(config)?,
            begun: Vec::new(),
            opened: BytesMut::new(),
            sealed: BytesMut::new(),
            has_ended: false,
            has_failed: false,
        })
    }

    /// What was agreed on.
    pub(super) fn state(&self) -> &CommonState {
        &self.tls
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// What was opened and nobody has taken yet.
    pub(super) fn opened(&mut self) -> &mut BytesMut {
        &mut self.opened
    }

    /// What was sealed and has not been written yet.
    pub(super) fn sealed(&mut self) -> &mut BytesMut {
        &mut self.sealed
    }

    /// Bytes that have come already, in front of those that come next.
    pub(super) fn begun(&self) -> &[u8] {
        &self.begun
    }

    /// Opens all whole records of `bytes`, which are those that had [begun](Self::begun) and what came since. The first `most`
    /// bytes in them go to `take`, and how many these were is told; the rest is kept. Behind what is good may be what is wrong:
    /// an alert that tells the client, if there is one, is sealed then.
    pub(super) fn open(
        &mut self,
        bytes: &mut [u8],
        most: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> (usize, Result<(), rustls::Error>) {
        let mut taken = 0;
        let opened = self.open_all(bytes, &mut |bytes| {
            let now = bytes.len().min(most - taken);
            if now > 0 {
                take(&bytes[..now]);
                taken += now;
            }
            now
        });
        (taken, opened)
    }

    /// `take` tells how many bytes of those that it is shown it has taken.
    fn open_all(
        &mut self,
        bytes: &mut [u8],
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> Result<(), rustls::Error> {
        let (mut start, mut has_more) = (0, true);
        while has_more {
            let status = self.tls.process_tls_records(&mut bytes[start..]);
            start += status.discard;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        start += record.discard;
                        let taken = take(record.payload);
                        keep(&mut self.opened, &record.payload[taken..]);
                    }
                }
                Ok(ConnectionState::PeerClosed) => self.has_ended = true,
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.sealed),
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    // All that is whole was looked at. In a handshake each look more is charged to early data that nobody can read
                    // (RFC 8446, section 4.2.10), as if there were twice as much of it.
                    has_more = !self.tls.is_handshaking();
                }
                Ok(_) => has_more = false,
                Err(error) => {
                    self.give_up(&mut bytes[start..]);
                    return Err(error);
                }
            }
        }
        let begun = &bytes[start..];
        if begun.len() > LONGEST {
            self.has_failed = true;
            return Err(InvalidMessage::HandshakePayloadTooLarge.into());
        }
        self.begun.clear();
        if begun.is_empty() || self.has_ended {
            self.begun = Vec::new();
        } else {
            self.begun.reserve_exact(begun.len());
            self.begun.extend_from_slice(begun);
        }
        Ok(())
    }

    /// Seals what is to be said before the session ends: the alert, and what was on its way in front of it. rustls wants to see the
    /// same bytes again, and no more often than it has something to say: it would find the same error in them.
    fn give_up(&mut self, bytes: &mut [u8]) {
        self.has_failed = true;
        while self.tls.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(data)) =
                self.tls.process_tls_records(bytes).state
            else {
                break;
            };
            encode(data, &mut self.sealed);
        }
    }

    /// Seals what of `parts` is sent at once: how many bytes were taken, and how many of `sealed` they became. `plain` is room to
    /// put them together in.
    pub(super) fn seal(
        &mut self,
        parts: &[IoSlice<'_>],
        plain: &mut [u8],
        sealed: &mut [u8],
    ) -> io::Result<(usize, usize)> {
        self.when_writable(|traffic| {
            let mut pieces = parts.iter().flat_map(|part| pieces(part));
            let (mut piece, mut taken, mut written) = (&[][..], 0, 0);
            while taken < HELD {
                let mut length = 0;
                while length < RECORD {
                    if piece.is_empty() {
                        let Some(next) = pieces.next() else { break };
                        piece = next;
                    }
                    let (now, later) = piece.split_at(piece.len().min(RECORD - length));
                    plain[length..length + now.len()].copy_from_slice(now);
                    length += now.len();
                    piece = later;
                }
                if length == 0 {
                    break;
                }
                match traffic.encrypt(&plain[..length], &mut sealed[written..]) {
                    Ok(record) => written += record,
                    // What is sealed has its number, and must go.
                    Err(_) if taken > 0 => break,
                    Err(error) => return Err(io::Error::other(error)),
                }
                taken += length;
            }
            Ok((taken, written))
        })
    }

    /// Seals that no more is sent; after a failure that is known.
    pub(super) fn seal_end(&mut self) -> io::Result<()> {
        if self.has_failed {
            return Ok(());
        }
        let mut end = [0; END];
        let count = self.when_writable(|traffic| {
            traffic
                .queue_close_notify(&mut end)
                .map_err(io::Error::other)
        })?;
        self.sealed.extend_from_slice(&end[..count]);
        Ok(())
    }

    fn when_writable<T>(
        &mut self,
        write: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>) -> io::Result<T>,
    ) -> io::Result<T> {
        // rustls would look for what has failed in bytes that are gone.
        while !self.has_failed {
            // What has begun holds no whole record, so nothing of it goes.
            match self.tls.process_tls_records(&mut self.begun).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => return write(&mut traffic),
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.sealed),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(_) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// What rustls says by itself.
fn encode<T>(mut data: EncodeTlsData<'_, T>, sealed: &mut BytesMut) {
    if let Err(EncodeError::InsufficientSize(least)) = data.encode(&mut []) {
        let start = sealed.len();
        sealed.resize(start + least.required_size, 0);
        // It fails only where there is no room.
        let _ = data.encode(&mut sealed[start..]);
    }
}

/// Puts bytes behind those that are kept.
pub(super) fn keep(kept: &mut BytesMut, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    kept.reserve(bytes.len());
    pieces(bytes).for_each(|piece| kept.extend_from_slice(piece));
}

/// Bytes of a close_notify, with what may be on the way before it.
const END: usize = 1024;
/// Bytes of a message in several records at most: RFC 8446 gives messages 24 bits, and rustls takes 16 of them.
const LONGEST: usize = 64 * 1024 + 2 * RECORD;

#[cfg(test)]
mod tests {
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
            Self {
                client: ClientConnection::new(Arc::clone(client), name).unwrap(),
                session: Session::new(Arc::clone(server)).unwrap(),
                sent: Vec::new(),
                opened: Vec::new(),
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
                self.client.process_new_packets().unwrap();
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
            sizes in prop::collection::vec(0..40_000usize, 0..6),
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
                    let mut got = vec![0; taken];
                    pair.client.reader().read_exact(&mut got).unwrap();
                    prop_assert!(got == rest[..taken]);
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
}
