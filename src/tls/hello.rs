//! What a client has offered: the name it asked for, and for the record of a handshake that comes to nothing the rest.

use std::cell::{OnceCell, RefCell};

use rustls::server::{Acceptor, ClientHello};

/// As far as it is known.
#[derive(Default)]
pub(super) struct Hello {
    /// Until all of the ClientHello has come.
    listening: RefCell<Option<Acceptor>>,
    first: OnceCell<[u8; FIRST]>,
    said: OnceCell<Said>,
}

#[derive(Debug)]
struct Said {
    sni: Option<Box<str>>,
    /// The protocols, with commas between.
    alpn: Option<Box<[u8]>>,
}

impl Hello {
    /// Of a client that is about to speak; the default is one that is not listened to.
    pub(super) fn new() -> Self {
        Self {
            listening: RefCell::new(Some(Acceptor::default())),
            first: OnceCell::new(),
            said: OnceCell::new(),
        }
    }

    /// Keeps the connection's first bytes.
    pub(super) fn began(&self, bytes: &[u8]) {
        if let Ok(first) = bytes.try_into() {
            let _ = self.first.set(first);
        }
    }

    /// Listens to what the client says. The handshake hears the same, and answers what is wrong with it.
    pub(super) fn heard(&self, mut bytes: &[u8]) {
        let mut listening = self.listening.borrow_mut();
        while let Some(acceptor) = &mut *listening {
            let read = acceptor.read_tls(&mut bytes);
            match (acceptor.accept(), read) {
                (Ok(None), Ok(1..)) => continue,
                (Ok(None), Ok(0)) => return,
                (Ok(Some(heard)), _) => self.said(&heard.client_hello()),
                (Ok(None), Err(_)) | (Err(_), _) => {}
            }
            *listening = None;
        }
    }

    /// Whether a ClientHello was too much to be heard: what it says is not known here.
    pub(super) fn is_missed(&self) -> bool {
        self.listening.borrow().is_none() && self.said.get().is_none()
    }

    /// Keeps what a whole ClientHello says.
    fn said(&self, hello: &ClientHello<'_>) {
        let alpn = hello
            .alpn()
            .map(|offered| offered.collect::<Vec<_>>().join(&b','));
        let _ = self.said.set(Said {
            sni: hello.server_name().map(Box::from),
            alpn: alpn.map(Vec::into_boxed_slice),
        });
    }

    /// The name that was asked for.
    pub(super) fn sni(&self) -> Option<&str> {
        self.said.get()?.sni.as_deref()
    }

    /// The protocols that were offered, with commas between.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.said.get()?.alpn.as_deref()
    }

    /// The newest version of a client that is older than TLS 1.3; newer ones all say 1.2 here (RFC 8446, section 4.1.2).
    pub(super) fn legacy_version(&self) -> Option<&'static str> {
        match self.first.get()? {
            [HANDSHAKE, _, _, _, _, CLIENT_HELLO, _, _, _, 3, minor] => match minor {
                0 => Some("SSL 3.0"),
                1 => Some("TLS 1.0"),
                2 => Some("TLS 1.1"),
                3 => Some("TLS 1.2"),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A record's head, a message's head, and the version in front of the rest.
pub(super) const FIRST: usize = 11;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
