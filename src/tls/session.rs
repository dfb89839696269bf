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

use super::scratch::HELD;
use crate::byte_stream::{RECORD, append, pieces};

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
                        append(&mut self.opened, &record.payload[taken..]);
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

/// Bytes of a close_notify, with what may be on the way before it.
const END: usize = 1024;
/// Bytes of a message in several records at most: RFC 8446 gives messages 24 bits, and rustls takes 16 of them.
const LONGEST: usize = 64 * 1024 + 2 * RECORD;

#[cfg(test)]
mod tests;
