//! A sidecar whose allocations are counted, by itself, and the bytes that they keep.

use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use portcullis::app;
use portcullis::config::{self, Config};
use portcullis::logging::Logging;
use portcullis::restrict::restrict;

use super::ALLOCATOR;
use super::app::App;
use super::support::{Ca, Secret, Sidecar};

/// A running sidecar, and the line on which it tells how often it has asked for memory, and how much of it it has.
pub(crate) struct Counted {
    pub(crate) sidecar: Sidecar,
    line: TcpStream,
}

impl Counted {
    /// In front of this application, ready.
    pub(crate) async fn start(app: &App) -> Self {
        let ca = Ca::new();
        let leaf = ca.leaf();
        let secret = Secret::holding(&leaf);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", "sidecar", "--nocapture"])
            .stdin(Stdio::null())
            .env_clear()
            .env(LINE, listener.local_addr().unwrap().to_string())
            .env("PORTCULLIS_TARGET", app.to_string())
            .env("PORTCULLIS_CERT_DIR", secret.path())
            .env("PORTCULLIS_WORKERS", "1")
            // As many records as it keeps are kept when the counting begins.
            .env("PORTCULLIS_RING", "4");
        for listener in ["LISTEN", "ADMIN", "PROBE"] {
            command.env(format!("PORTCULLIS_{listener}"), "127.0.0.1:0");
        }
        let sidecar = Sidecar::spawn(command, ca, leaf, secret).await;
        sidecar.ready().await;
        // It has connected before it was listening.
        let (line, _) = listener.accept().unwrap();
        Self { sidecar, line }
    }

    /// How many allocations an exchange takes. What is done once in a while, by the clock, is no part of it as long as it comes
    /// less often than exchanges do: a batch has many of them, and the batch with the fewest allocations counts.
    pub(crate) async fn each(&mut self, mut exchange: impl AsyncFnMut()) -> usize {
        for _ in 0..WARM {
            exchange().await;
        }
        let mut least = usize::MAX;
        for _ in 0..BATCHES {
            let before = self.allocations();
            for _ in 0..BATCH {
                exchange().await;
            }
            least = least.min(self.allocations() - before);
        }
        least / BATCH
    }

    /// Since it was started, those that only grow or shrink what there is among them.
    fn allocations(&mut self) -> usize {
        self.ask().0
    }

    /// Bytes that it has asked for and not given back.
    pub(crate) fn bytes(&mut self) -> usize {
        self.ask().1
    }

    fn ask(&mut self) -> (usize, usize) {
        self.line.write_all(b"?").unwrap();
        let mut number = || {
            let mut told = [0; size_of::<usize>()];
            self.line.read_exact(&mut told).unwrap();
            usize::from_be_bytes(told)
        };
        (number(), number())
    }
}

/// Is the sidecar, as `portcullis run` is with what the environment says. Without the line nobody has started it.
pub(crate) fn serve() {
    let Ok(line) = env::var(LINE) else { return };
    let mut line = TcpStream::connect(line).unwrap();
    thread::spawn(move || {
        // It takes no memory for that.
        while line.read_exact(&mut [0]).is_ok() {
            let stats = ALLOCATOR.stats();
            let allocations = stats.allocations + stats.reallocations;
            let bytes = stats.bytes_allocated - stats.bytes_deallocated;
            for told in [allocations, bytes] {
                line.write_all(&told.to_be_bytes()).unwrap();
            }
        }
    });
    let matches = config::command().get_matches_from(["portcullis", "run"]);
    let (config, raw) = Config::load(matches.subcommand_matches("run").unwrap()).unwrap();
    portcullis::prepare();
    let bound = app::bind_all(config).unwrap();
    let restrictions = restrict(bound.config(), &bound.addresses.looked_at(), None);
    let logging = Logging::start(bound.config()).unwrap();
    bound.run(&raw, restrictions, &logging).unwrap();
}

/// Where the test waits for it.
const LINE: &str = "COSTS_LINE";
/// Exchanges until every buffer has grown to its size.
const WARM: usize = 500;
const BATCH: usize = 2000;
const BATCHES: usize = 3;
