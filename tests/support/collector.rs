//! A collector of traces over real sockets. It takes OTLP/HTTP, decoded by the messages that OpenTelemetry itself publishes, or
//! Zipkin's JSON v2; and it can be as broken as collectors are. This file stands on nothing but packages: the exporter's own tests use
//! it, too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message as _;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How a collector behaves. It may change at any time; a request is treated as what holds when all of it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Takes spans.
    Good,
    /// Takes spans, and closes the connection without having said so.
    Closing,
    /// Takes spans, and answers 200 with a body that is nothing.
    GarbageBody,
    /// Takes spans, and answers 200 with a body that has no end.
    EndlessBody,
    /// Takes spans, but for so many of each request (OTLP's partial success), for this reason.
    Partial(i64, &'static str),
    /// Takes nothing, and answers with this status line and these fields, like `503 Service Unavailable\r\nRetry-After: 1`.
    Status(&'static str),
    /// Takes nothing, and never answers.
    Slow,
    /// Takes nothing, and answers with what is no HTTP.
    Noise,
    /// Takes nothing, and says for ever that it is about to.
    Interim,
}

/// A span as a collector sees it, whatever it came in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Hex, as are the others: 32 digits, or 16 where Zipkin was told so.
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    /// `SERVER` or `CLIENT`.
    pub(crate) kind: String,
    pub(crate) name: String,
    /// `service.name`
    pub(crate) service: String,
    /// Attributes, all as text; for Zipkin the tag `error`, too.
    pub(crate) tags: BTreeMap<String, String>,
    /// What its status says, where that is an error.
    pub(crate) error: Option<String>,
    /// Nanoseconds since 1970, and how long it took. Zipkin has microseconds.
    pub(crate) started: u64,
    pub(crate) took: u64,
    /// What only OTLP has: flags, `tracestate`.
    pub(crate) flags: u32,
    pub(crate) state: String,
    /// What only Zipkin has: `remoteEndpoint`.
    pub(crate) remote: Value,
}

/// A request, with its head as it came.
#[derive(Clone, Debug)]
pub(crate) struct Export {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A listening collector; gone on drop.
pub(crate) struct Collector {
    address: SocketAddr,
    exporter: &'static str,
    is_secure: bool,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    exporter: &'static str,
    mode: Mutex<Mode>,
    spans: Mutex<Vec<Seen>>,
    exports: Mutex<Vec<Export>>,
    connections: Mutex<usize>,
    /// What no exporter should ever send.
    faults: Mutex<Vec<String>>,
    /// Something has come.
    changed: watch::Sender<()>,
}

impl Collector {
    /// One that takes OTLP/HTTP.
    pub(crate) async fn otlp() -> Self {
        Self::start("otlp", None).await
    }

    /// One that takes Zipkin's JSON v2.
    pub(crate) async fn zipkin() -> Self {
        Self::start("zipkin", None).await
    }

    /// One that takes OTLP/HTTP over TLS, with this certificate and this key, PEM.
    pub(crate) async fn otlp_over_tls(certificate: &str, key: &str) -> Self {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::start("otlp", Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    /// The URL of a port at which nobody listens, and which nobody else gets as long as the socket is there.
    pub(crate) fn dead() -> (String, TcpSocket) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        (format!("http://{}", socket.local_addr().unwrap()), socket)
    }

    async fn start(exporter: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            exporter,
            mode: Mutex::new(Mode::Good),
            spans: Mutex::default(),
            exports: Mutex::default(),
            connections: Mutex::default(),
            faults: Mutex::default(),
            changed: watch::channel(()).0,
        });
        Self {
            address: listener.local_addr().unwrap(),
            exporter,
            is_secure: tls.is_some(),
            accepting: tokio::spawn(accept(listener, tls, Arc::clone(&shared))),
            shared,
        }
    }

    /// How it behaves from now on.
    pub(crate) fn becomes(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// For `--trace-endpoint`.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The flags of a sidecar that exports to it.
    pub(crate) fn flags(&self) -> [String; 4] {
        let (exporter, url) = (self.exporter.to_owned(), self.url());
        [
            "--trace-exporter".to_owned(),
            exporter,
            "--trace-endpoint".to_owned(),
            url,
        ]
    }

    /// All spans that it has taken.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        let faults = self.shared.faults.lock().unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        drop(faults);
        self.shared.spans.lock().unwrap().clone()
    }

    /// All requests that have come, taken or not.
    pub(crate) fn exports(&self) -> Vec<Export> {
        self.shared.exports.lock().unwrap().clone()
    }

    /// How many connections have come.
    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }

    /// Waits until what has been taken is enough to say something of it.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut enough: impl FnMut(&[Seen]) -> Option<T>,
    ) -> T {
        self.look(what, || enough(&self.spans())).await
    }

    /// Waits until so many requests have come, taken or not.
    pub(crate) async fn asked(&self, times: usize) -> Vec<Export> {
        self.look("requests", || {
            Some(self.exports()).filter(|all| all.len() >= times)
        })
        .await
    }

    async fn look<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let mut changes = self.shared.changed.subscribe();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(found) = ask() {
                    return found;
                }
                changes.changed().await.unwrap();
            }
        });
        let Ok(found) = found.await else {
            panic!(
                "gave up waiting: {what}, of {:#?}",
                self.shared.spans.lock().unwrap()
            );
        };
        found
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Connections end with their collector.
    let mut open = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        *shared.connections.lock().unwrap() += 1;
        shared.changed.send_replace(());
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        open.spawn(async move {
            // An exporter that leaves is part of the play.
            let _ = match tls {
                None => serve(stream, &shared).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, &shared).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}

async fn serve<S>(mut stream: S, shared: &Shared) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(export) = read(&mut stream).await? {
        let mode = *shared.mode.lock().unwrap();
        shared.take(&export, mode);
        let sent = match mode {
            Mode::Slow => std::future::pending().await,
            Mode::Interim => interim(&mut stream).await,
            Mode::Noise => stream.write_all(&[0xa7; 512]).await,
            Mode::EndlessBody => endless(&mut stream).await,
            Mode::Status(status) => answer(&mut stream, status, b"no").await,
            Mode::GarbageBody => answer(&mut stream, "200 OK", &[0xff; 64]).await,
            Mode::Good | Mode::Closing => answer(&mut stream, shared.taken(), b"").await,
            Mode::Partial(rejected_spans, why) => {
                let partial_success = Some(ExportTracePartialSuccess {
                    rejected_spans,
                    error_message: why.to_owned(),
                });
                let body = ExportTraceServiceResponse { partial_success };
                answer(&mut stream, "200 OK", &body.encode_to_vec()).await
            }
        };
        sent?;
        if matches!(mode, Mode::Noise | Mode::Closing) {
            break;
        }
    }
    Ok(())
}

async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    status: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await
}

async fn endless<S: AsyncWrite + Unpin>(stream: &mut S) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
    loop {
        stream.write_all(&chunk).await?;
    }
}

async fn interim<S: AsyncWrite + Unpin>(stream: &mut S) -> std::io::Result<()> {
    let some = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    loop {
        stream.write_all(&some).await?;
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Option<Export>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) if head.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8(head).unwrap();
    let export = Export {
        head,
        body: Vec::new(),
    };
    let length = export.field("content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Export { body, ..export }))
}

impl Export {
    /// The value of a field of its head.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

impl Shared {
    /// The usual status of one that has taken spans.
    fn taken(&self) -> &'static str {
        match self.exporter {
            "zipkin" => "202 Accepted",
            _ => "200 OK\r\nContent-Type: application/x-protobuf",
        }
    }

    fn take(&self, export: &Export, mode: Mode) {
        let is_taken = !matches!(
            mode,
            Mode::Slow | Mode::Noise | Mode::Interim | Mode::Status(_)
        );
        let (path, kind, spans) = match self.exporter {
            "zipkin" => ("/api/v2/spans", "application/json", zipkin(&export.body)),
            _ => ("/v1/traces", "application/x-protobuf", otlp(&export.body)),
        };
        match spans {
            Ok(spans) if is_taken => self.spans.lock().unwrap().extend(spans),
            Ok(_) => {}
            Err(error) => self.faults.lock().unwrap().push(error),
        }
        let is_right = export
            .head
            .starts_with(&format!("POST {path} HTTP/1.1\r\n"))
            && export.field("content-type") == Some(kind);
        if !is_right {
            self.faults.lock().unwrap().push(export.head.clone());
        }
        self.exports.lock().unwrap().push(export.clone());
        self.changed.send_replace(());
    }
}

fn otlp(body: &[u8]) -> Result<Vec<Seen>, String> {
    let request = ExportTraceServiceRequest::decode(body).map_err(|error| error.to_string())?;
    let mut seen = Vec::new();
    for of_resource in request.resource_spans {
        let resource = tags(&of_resource.resource.unwrap_or_default().attributes);
        let service = resource.get("service.name").cloned().unwrap_or_default();
        let spans = of_resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        seen.extend(spans.map(|span| of_otlp(&span, &service)));
    }
    Ok(seen)
}

fn of_otlp(span: &Span, service: &str) -> Seen {
    let kind = match span.kind() {
        SpanKind::Server => "SERVER",
        SpanKind::Client => "CLIENT",
        _ => "another",
    };
    let status = span.status.clone().unwrap_or_default();
    Seen {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: (!span.parent_span_id.is_empty()).then(|| hex(&span.parent_span_id)),
        kind: kind.to_owned(),
        name: span.name.clone(),
        service: service.to_owned(),
        tags: tags(&span.attributes),
        error: (status.code() == StatusCode::Error).then_some(status.message),
        started: span.start_time_unix_nano,
        took: span.end_time_unix_nano - span.start_time_unix_nano,
        flags: span.flags,
        state: span.trace_state.clone(),
        remote: Value::Null,
    }
}

fn tags(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.clone().and_then(|value| value.value) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        Some(Any::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .iter()
        .map(|pair| (pair.key.clone(), text(pair)))
        .collect()
}

fn zipkin(body: &[u8]) -> Result<Vec<Seen>, String> {
    let spans: Vec<Value> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Ok(spans.iter().map(of_zipkin).collect())
}

fn of_zipkin(span: &Value) -> Seen {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let nanos = |value: &Value| value.as_u64().unwrap_or_default() * 1000;
    let tags = span["tags"].as_object().cloned().unwrap_or_default();
    let tags: BTreeMap<_, _> = tags
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    Seen {
        trace: text(&span["traceId"]),
        id: text(&span["id"]),
        parent: span["parentId"].as_str().map(str::to_owned),
        kind: text(&span["kind"]),
        name: text(&span["name"]),
        service: text(&span["localEndpoint"]["serviceName"]),
        error: tags.get("error").cloned(),
        tags,
        started: nanos(&span["timestamp"]),
        took: nanos(&span["duration"]),
        flags: 0,
        state: String::new(),
        remote: span["remoteEndpoint"].clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// How long an observation may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(20);
