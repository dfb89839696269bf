//! What the micro-benchmarks may touch: of the record's way here. Compiled for them alone (feature `bench`).

mod heads;
mod traces;

use std::cell::Cell;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use portcullis_certs::{Attempt, Confirmation, Observer, Store};
use tracing::Level;
use tracing::subscriber::{NoSubscriber, with_default};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::census::Presence;
use crate::config::{self, Config};
use crate::conn::{Conn, Site, TlsFacts};
use crate::metrics::{ExchangeFacts, Metrics};
use crate::phase::Life;
use crate::records::{
    self, Counts, Exchange, Format, LineWriter, Notice, Output, Policy, RECORD, RecordLayer, Ring,
};
use crate::tenure::Tenure;
use crate::upstream::Target;
use crate::wire::Gauge;

use traces::Traces;

pub use heads::{Bodiless, Client, read, response, to_downstream, to_upstream};

/// A connection on which exchanges come and go without a byte.
#[derive(Debug)]
pub struct Bench {
    conn: Rc<Conn>,
    target: Arc<Target>,
    upstream: Rc<str>,
    request: (Method, Uri, HeaderMap),
    metrics: Metrics,
    traces: Traces,
    ring: Arc<Ring>,
    line: Notice,
    _writer: LineWriter,
}

/// Nobody wants to know.
struct Deaf;

impl Observer for Deaf {
    fn attempted(&self, _: &Attempt) {}
    fn looked(&self, _: &Attempt, _: &Confirmation) {}
}

impl Bench {
    /// Records of this process go to `/dev/null` from now on, as `json` or as `combined`; once in a process.
    ///
    /// # Errors
    /// What could not be set up.
    pub fn new(format: &str) -> Result<Self, String> {
        Self::with(format, &[])
    }

    /// With these flags of `run`, too.
    ///
    /// # Errors
    /// What could not be set up.
    pub fn with(format: &str, flags: &[&str]) -> Result<Self, String> {
        let arguments = ["portcullis", "run", "--cert-dir", "/nonexistent"];
        let arguments = arguments.iter().chain(flags);
        let matches = config::command()
            .try_get_matches_from(arguments)
            .map_err(|error| error.to_string())?;
        let run = matches.subcommand_matches("run").ok_or("no such command")?;
        let (config, _) = Config::load(run).map_err(|mistakes| mistakes.to_string())?;
        let ring = Arc::new(Ring::new(config.recording.ring));
        let writer = install(format, &ring).map_err(|error| error.to_string())?;
        let store = Store::new(config.certificates.clone(), Deaf)?;
        let metrics = Metrics::new(Default::default);
        let traces = Traces::new(&config);
        let site = Site {
            service: "bench".into(),
            meter: metrics.meter(),
            life: Arc::new(Life::new()),
            policy: Arc::new(Policy::new(&config.recording)),
            inflight: Rc::default(),
            tracer: traces.tracer(&config),
        };
        let conn = Conn {
            site,
            client: SocketAddr::from((Ipv4Addr::LOCALHOST, 50_594)),
            client_ip: "127.0.0.1".into(),
            is_unnamed: false,
            tls: Some(TlsFacts {
                version: "1.3",
                cipher: Some("TLS_AES_256_GCM_SHA384"),
                sni: Some("localhost".into()),
                alpn: Some("http/1.1"),
                resumed: false,
                generation: store.current(),
            }),
            handshake: Cell::new(Some(Duration::from_millis(5))),
            peer: None,
            tenure: Tenure::default(),
            wire: Gauge::default(),
            cut: Cell::new(None),
            presence: Presence::new(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("shop.example:8443"));
        headers.insert(USER_AGENT, HeaderValue::from_static("curl/7.88.1"));
        records::batch();
        Ok(Self {
            conn: Rc::new(conn),
            target: Arc::new(Target::new(1, config.target)),
            upstream: "127.0.0.1:8080".into(),
            request: (Method::GET, Uri::from_static("/api/items?page=2"), headers),
            metrics,
            traces,
            ring,
            line: Notice::dropped(&"x".repeat(LINE), Counts::default()),
            _writer: writer,
        })
    }

    /// All that an exchange leaves behind: its id, its place among those in flight, its share of the metrics, its line, its
    /// place in the ring and in the queue.
    pub fn exchange(&self) {
        let (method, uri, headers) = &self.request;
        let mut exchange = Exchange::open(&self.conn, Instant::now());
        exchange.request(method, uri, Version::HTTP_11, headers);
        exchange.bound_for(&self.target);
        exchange.sent_to(Some(Rc::clone(&self.upstream)));
        exchange.respond(StatusCode::OK);
        exchange.sent(1024);
        exchange.finish();
    }

    /// Has what was gathered handed over, as a worker does before it sleeps.
    pub fn hand_over(&self) {
        records::hand_over();
    }

    /// Does something while nobody listens to records: none is made, whatever it leaves behind else.
    pub fn unheard(&self, doing: impl FnOnce()) {
        with_default(NoSubscriber::default(), doing);
    }

    /// A line as long as a usual record, into the ring alone, whose lock is taken for it.
    pub fn keep(&self) {
        self.ring.note(&self.line);
    }

    /// Its share of the metrics alone.
    pub fn count(&self) {
        self.conn.site.meter.exchange(&ExchangeFacts {
            method: Some(&self.request.0),
            status: Some(StatusCode::OK),
            reason: None,
            duration: Duration::from_micros(700),
            upstream: Some(Duration::from_micros(400)),
            bytes_in: 0,
            bytes_out: 1024,
            retries: 0,
            trace_id: None,
        });
    }

    /// A scrape.
    pub fn scrape(&self) -> String {
        self.metrics.prometheus()
    }
}

fn install(format: &str, ring: &Arc<Ring>) -> std::io::Result<LineWriter> {
    let nowhere = File::options().write(true).open("/dev/null")?;
    let writer = LineWriter::start("log", Output::stream(nowhere), Box::new(|_, _| {}))?;
    let format = match format {
        "combined" => Format::Combined,
        _ => Format::Json,
    };
    let layer = RecordLayer::new(Arc::clone(ring), writer.sink(), format, 1.0)
        .with_filter(Targets::new().with_target(RECORD, Level::INFO));
    // One that is there already stays.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    Ok(writer)
}

/// What a notice lacks to be as long as a usual record, which has about 700 bytes.
const LINE: usize = 520;
