//! TLS clients: one that says exactly the bytes it is told to, and one for HTTP/2.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WantsClientCert};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pki::Leaf;
use super::sidecar::Sidecar;
use super::wait::{PATIENCE, eventually};

/// An HTTP/1 answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The value of a field; the first if there are several.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A configured TLS client of one sidecar.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: &'static str,
}

impl Client {
    /// Trusts the sidecar's CA and offers this in ALPN.
    pub(crate) fn new(sidecar: &Sidecar, alpn: &[&str]) -> Self {
        Self::with_versions(sidecar, alpn, rustls::ALL_VERSIONS)
    }

    pub(crate) fn with_versions(
        sidecar: &Sidecar,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(sidecar.ca.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::of(sidecar, config, alpn)
    }

    /// One that shows a certificate.
    pub(crate) fn showing(
        sidecar: &Sidecar,
        chain: &[&CertificateDer<'static>],
        key: &Leaf,
        alpn: &[&str],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(sidecar.ca.certificate.clone()).unwrap();
        let chain = chain.iter().map(|der| (*der).clone()).collect();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key.private_key())
            .unwrap();
        Self::of(sidecar, config, alpn)
    }

    /// One that takes whatever certificate it is shown, and can verify only these kinds: `rsa`, `ecdsa`; none is all.
    pub(crate) fn curious(sidecar: &Sidecar, kinds: &[&str], alpn: &[&str]) -> Self {
        let is_wanted = |scheme: &SignatureScheme| {
            let name = format!("{scheme:?}").to_lowercase();
            kinds.is_empty() || kinds.iter().any(|kind| name.starts_with(kind))
        };
        let builder = believing(rustls::ALL_VERSIONS, is_wanted);
        Self::of(sidecar, builder.with_no_client_auth(), alpn)
    }

    /// One that takes whatever certificate it is shown, to go from one sidecar to another.
    pub(crate) fn credulous(
        sidecar: &Sidecar,
        leaf: Option<&Leaf>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let builder = believing(versions, |_| true);
        let config = match leaf {
            None => builder.with_no_client_auth(),
            Some(leaf) => builder
                .with_client_auth_cert(vec![leaf.der.clone()], leaf.private_key())
                .unwrap(),
        };
        Self::of(sidecar, config, &["http/1.1"])
    }

    /// One whose certificate is renewed while it keeps its sessions.
    pub(crate) fn renewing(
        sidecar: &Sidecar,
        leaf: &Leaf,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> (Self, Arc<Renewed>) {
        let renewed = Arc::new(Renewed(Mutex::new(leaf.clone())));
        let config =
            believing(&[version], |_| true).with_client_cert_resolver(Arc::clone(&renewed) as _);
        (Self::of(sidecar, config, &["http/1.1"]), renewed)
    }

    /// The same over HTTP/1 and any version of TLS.
    pub(crate) fn as_client(sidecar: &Sidecar, leaf: &Leaf) -> Self {
        let alpn = &["http/1.1"];
        Self::showing(sidecar, &[&leaf.der], leaf, alpn, rustls::ALL_VERSIONS)
    }

    fn of(sidecar: &Sidecar, mut config: ClientConfig, alpn: &[&str]) -> Self {
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self {
            address: sidecar.https,
            config: Arc::new(config),
            name: "localhost",
        }
    }

    /// The same client, with all that it remembers, at another sidecar.
    pub(crate) fn at(&self, sidecar: &Sidecar) -> Self {
        Self {
            address: sidecar.https,
            ..self.clone()
        }
    }

    /// The same client, at the admin plane of its sidecar.
    pub(crate) fn at_admin(&self, sidecar: &Sidecar) -> Self {
        Self {
            address: sidecar.admin,
            ..self.clone()
        }
    }

    /// The same client, asking for another name.
    pub(crate) fn asking(&self, name: &'static str) -> Self {
        Self {
            name,
            ..self.clone()
        }
    }

    /// Whether a request on a new connection was served over a resumed session. The answer is read, so that the next ticket
    /// has come.
    pub(crate) async fn resumes(&self) -> bool {
        let mut stream = self.connect().await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(read_answer(&mut stream).await.unwrap().status, 200);
        stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// Its side of a connection, for a test that carries the bytes itself.
    pub(crate) fn by_hand(&self) -> rustls::ClientConnection {
        let name = ServerName::try_from(self.name).unwrap();
        rustls::ClientConnection::new(Arc::clone(&self.config), name).unwrap()
    }

    /// Tries a request on a new connection, which must not be let in: in TLS 1.3 a client learns that only when it reads.
    pub(crate) async fn is_refused(&self) {
        let tried = async {
            let mut stream = self.connect().await?;
            stream
                .write_all(b"GET /refused HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await?;
            read_answer(&mut stream).await
        };
        if let Ok(answer) = tried.await {
            panic!("let in: {}", answer.head);
        }
    }

    pub(crate) fn h1(sidecar: &Sidecar) -> Self {
        Self::new(sidecar, &["http/1.1"])
    }

    pub(crate) async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        self.connect_on(stream).await
    }

    /// One request on a connection of its own; the whole of what came back.
    pub(crate) async fn send(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut stream = self.connect().await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        stream.flush().await.unwrap();
        read_answer(&mut stream).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
        .await
    }

    /// The handshake on a connection that was made before.
    pub(crate) async fn connect_on(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.name).unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await
    }

    /// The leaf a new connection is shown.
    pub(crate) async fn served(&self) -> CertificateDer<'static> {
        let stream = self.connect().await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    /// Waits until new connections are shown this certificate.
    pub(crate) async fn sees(&self, what: &str, leaf: &Leaf) {
        eventually(what, async || {
            (self.served().await == leaf.der).then_some(())
        })
        .await;
    }

    pub(crate) async fn h2(&self) -> H2 {
        let stream = self.connect().await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        H2(send)
    }
}

/// The certificate of a client, as it is now.
#[derive(Debug)]
pub(crate) struct Renewed(Mutex<Leaf>);

impl Renewed {
    pub(crate) fn becomes(&self, leaf: &Leaf) {
        *self.0.lock().unwrap() = leaf.clone();
    }
}

impl ResolvesClientCert for Renewed {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let leaf = self.0.lock().unwrap().clone();
        let chain = vec![leaf.der.clone()];
        CertifiedKey::from_der(chain, leaf.private_key(), &provider())
            .ok()
            .map(Arc::new)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn believing(
    versions: &[&'static rustls::SupportedProtocolVersion],
    is_wanted: impl Fn(&SignatureScheme) -> bool,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let provider = provider();
    let mut schemes = provider
        .signature_verification_algorithms
        .supported_schemes();
    schemes.retain(is_wanted);
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Curious(schemes)))
}

/// Believes everything.
#[derive(Debug)]
struct Curious(Vec<SignatureScheme>);

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// An HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct H2(pub(crate) h2::client::SendRequest<Bytes>);

impl H2 {
    /// Begins a request; its response, and the way to send what follows.
    pub(crate) async fn begin(
        &self,
        request: Request<()>,
        is_over: bool,
    ) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let mut ready = self.0.clone().ready().await.unwrap();
        ready.send_request(request, is_over).unwrap()
    }

    /// Sends a request with a body and reads the whole response; an error is the stream's.
    pub(crate) async fn exchange(
        &self,
        request: Request<()>,
        body: Option<Bytes>,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), h2::Error> {
        let mut ready = self.0.clone().ready().await?;
        let (response, mut stream) = ready.send_request(request, body.is_none())?;
        if let Some(body) = body {
            stream.send_data(body, true)?;
        }
        let (head, mut body) = response.await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data = data?;
            let _ = body.flow_control().release_capacity(data.len());
            bytes.extend_from_slice(&data);
        }
        Ok((head.status, head.headers, bytes))
    }
}

pub(crate) fn h2_get(path: &str) -> Request<()> {
    Request::get(format!("https://localhost{path}"))
        .body(())
        .unwrap()
}

/// One request in clear.
pub(crate) async fn send(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_ref()).await.unwrap();
    read_answer(&mut stream).await.unwrap()
}

/// Everything up to `end` and not a byte more.
pub(crate) async fn read_until<S: AsyncRead + Unpin>(
    stream: &mut S,
    end: &[u8],
) -> std::io::Result<Vec<u8>> {
    let mut seen = Vec::new();
    while !seen.ends_with(end) {
        seen.push(stream.read_u8().await?);
    }
    Ok(seen)
}

/// Reads one HTTP/1 answer, by its Content-Length, its chunks, or to the end. An early end is an error.
pub(crate) async fn read_answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
) -> std::io::Result<Answer> {
    timeout(PATIENCE, read(stream))
        .await
        .expect("an answer in time")
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Answer> {
    let head = read_until(stream, b"\r\n\r\n").await?;
    let head = String::from_utf8(head).unwrap();
    let status: u16 = head[9..12].parse().unwrap();
    let mut answer = Answer {
        status,
        head,
        body: Vec::new(),
    };
    if status == 204 || status == 304 || status < 200 {
        return Ok(answer);
    }
    if let Some(length) = answer.field("content-length") {
        answer.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut answer.body).await?;
    } else if answer.field("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            while !size.ends_with("\r\n") {
                size.push(stream.read_u8().await?.into());
            }
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await?;
            answer.body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Ok(answer);
            }
        }
    } else {
        stream.read_to_end(&mut answer.body).await?;
    }
    Ok(answer)
}
