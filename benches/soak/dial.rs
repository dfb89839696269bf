//! TLS connections to the sidecar, and whether each is shown the certificate that is due.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::books::Books;

/// The certificates that were put into the Secret, in order.
#[derive(Default)]
pub(crate) struct Shown(Mutex<Numbers>);

#[derive(Default)]
struct Numbers {
    /// The latest ones, with their numbers.
    leaves: VecDeque<(u64, CertificateDer<'static>)>,
    written: u64,
    /// The latest whose publication was observed: no new handshake may see an older one.
    published: u64,
}

impl Shown {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This one is about to be written, and may be seen from now on.
    pub(crate) fn written(&self, leaf: &CertificateDer<'static>) {
        let mut numbers = self.lock();
        numbers.written += 1;
        let number = numbers.written;
        numbers.leaves.push_back((number, leaf.clone()));
        if numbers.leaves.len() > KEPT {
            numbers.leaves.pop_front();
        }
    }

    /// The latest is served: none before it may be seen any more.
    pub(crate) fn published(&self) {
        let mut numbers = self.lock();
        numbers.published = numbers.written;
    }

    fn oldest_due(&self) -> u64 {
        self.lock().published
    }

    /// The number of a leaf that was seen in a handshake which began when `oldest` was due.
    fn judge(&self, leaf: &CertificateDer<'_>, oldest: u64) -> Result<(), String> {
        let numbers = self.lock();
        let number = numbers.leaves.iter().find(|(_, known)| known == leaf);
        match number {
            Some((number, _)) if *number >= oldest => Ok(()),
            Some((number, _)) => Err(format!(
                "certificate {number} is shown, {oldest} was published before"
            )),
            None => Err("a certificate is shown that is none of the latest good ones".to_owned()),
        }
    }
}

/// What clients are made with.
pub(crate) struct Dialer {
    address: SocketAddr,
    books: Arc<Books>,
    pub(crate) shown: Shown,
    http1: Vec<Arc<ClientConfig>>,
    http2: Vec<Arc<ClientConfig>>,
}

pub(crate) type Secured = TlsStream<TcpStream>;

impl Dialer {
    pub(crate) fn new(
        address: SocketAddr,
        ca: &CertificateDer<'static>,
        books: Arc<Books>,
        shown: Shown,
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone())?;
        let roots = Arc::new(roots);
        let configs = |alpn: &[u8]| -> Result<Vec<_>, rustls::Error> {
            let (resuming, fresh) = (config(&roots, alpn, None)?, config(&roots, alpn, NEVER)?);
            Ok(vec![Arc::new(resuming), Arc::new(fresh)])
        };
        Ok(Self {
            address,
            books,
            shown,
            http1: configs(b"http/1.1")?,
            http2: configs(b"h2")?,
        })
    }

    /// A connection for HTTP/1; none where it fails, which is noted as a violation.
    pub(crate) async fn http1(&self, rng: &mut fastrand::Rng) -> Option<Secured> {
        self.connect(rng.choice(&self.http1)?).await
    }

    /// The same for HTTP/2.
    pub(crate) async fn http2(&self, rng: &mut fastrand::Rng) -> Option<Secured> {
        self.connect(rng.choice(&self.http2)?).await
    }

    /// The first part of a connection only.
    pub(crate) async fn tcp(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.address).await
    }

    async fn connect(&self, config: &Arc<ClientConfig>) -> Option<Secured> {
        let oldest = self.shown.oldest_due();
        let shaken = timeout(PATIENCE, self.shake(config)).await;
        let stream = match shaken.map_err(io::Error::from).flatten() {
            Ok(stream) => stream,
            Err(error) => {
                self.books.violated(format!("a handshake failed: {error}"));
                return None;
            }
        };
        let tls = stream.get_ref().1;
        // Who resumes a session is shown no certificate, and remembers the old one.
        let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let leaf = tls.peer_certificates().and_then(<[_]>::first);
        let judged = match leaf {
            _ if is_resumed => Ok(()),
            Some(leaf) => self.shown.judge(leaf, oldest),
            None => Err("no certificate is shown".to_owned()),
        };
        let mut ledger = self.books.lock();
        ledger.tally.happened(if is_resumed {
            "handshakes resumed"
        } else {
            "handshakes in full"
        });
        if let Err(what) = judged {
            ledger.tally.violated(what);
        }
        drop(ledger);
        Some(stream)
    }

    async fn shake(&self, config: &Arc<ClientConfig>) -> io::Result<Secured> {
        let stream = self.tcp().await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(config));
        connector.connect(name, stream).await
    }
}

fn config(
    roots: &Arc<RootCertStore>,
    alpn: &[u8],
    resumption: Option<fn() -> Resumption>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    if let Some(resumption) = resumption {
        config.resumption = resumption();
    }
    Ok(config)
}

/// Every handshake is one in full.
const NEVER: Option<fn() -> Resumption> = Some(Resumption::disabled);
/// So many certificates are remembered: far more than can be on their way at once.
const KEPT: usize = 16;
const PATIENCE: Duration = Duration::from_secs(15);
