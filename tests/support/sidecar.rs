//! The real executable.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Answer, send};
use super::collector::Collector;
use super::pki::{Ca, Leaf, Secret};
use super::wait::{PATIENCE, eventually};

/// The command, with no variable from the surroundings that could change what it does.
pub(crate) fn portcullis() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// `portcullis run` on ports that the system picks.
pub(crate) fn running() -> Command {
    let mut command = portcullis();
    command
        .args(["run", "--listen", "127.0.0.1:0", "--probe", "127.0.0.1:0"])
        // By the environment, so that a test can say otherwise.
        .env("PORTCULLIS_ADMIN", "127.0.0.1:0");
    command
}

/// A running sidecar; killed and waited for on drop.
pub(crate) struct Sidecar {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    stalled: Arc<AtomicBool>,
    /// Reads stdout.
    reader: Thread,
    pub(crate) https: SocketAddr,
    pub(crate) redirect: Option<SocketAddr>,
    /// Nowhere, where the plane is at a Unix socket.
    pub(crate) admin: SocketAddr,
    pub(crate) probe: SocketAddr,
    pub(crate) ca: Ca,
    pub(crate) leaf: Leaf,
    pub(crate) secret: Secret,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Sidecar {
    /// In front of `target`, with a good certificate in a mounted Secret, ready.
    pub(crate) async fn start(target: impl ToString, args: &[&str]) -> Self {
        let sidecar = Self::start_with(target, args, |_| {}).await;
        sidecar.ready().await;
        sidecar
    }

    /// The same, with its spans going to this collector.
    pub(crate) async fn traced(
        target: impl ToString,
        collector: &Collector,
        more: &[&str],
    ) -> Self {
        let flags = collector.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Self::start(target, &[&flags[..], more].concat()).await
    }

    /// The same as [`Sidecar::start`], with more files in the Secret, beside the certificate.
    pub(crate) async fn start_beside(
        target: impl ToString,
        files: &[(&str, &str)],
        args: &[&str],
    ) -> Self {
        let mut sidecar = Self::start_with(target, args, |_| {}).await;
        sidecar.swap_beside(files);
        sidecar.ready().await;
        sidecar
    }

    pub(crate) async fn ready(&self) {
        eventually("the sidecar is ready", async || {
            (self.probe("/readyz").await.status == 200).then_some(())
        })
        .await;
    }

    /// Renews what is beside the certificate in the Secret, which stays.
    pub(crate) fn swap_beside(&mut self, files: &[(&str, &str)]) {
        let leaf = self.leaf.clone();
        let mut all = vec![("tls.crt", &*leaf.certificate), ("tls.key", &*leaf.key)];
        all.extend(files);
        self.secret.swap_all(&all);
    }

    /// Waits until this generation is served.
    pub(crate) async fn published(&self, generation: u64) {
        eventually("it is published", async || {
            (self.admin("/certs").await.json()["generation"] == generation).then_some(())
        })
        .await;
    }

    /// The same, before the Secret's content is changed by `prepare` and without waiting for readiness.
    pub(crate) async fn start_with(
        target: impl ToString,
        args: &[&str],
        prepare: impl FnOnce(&mut Secret),
    ) -> Self {
        let ca = Ca::new();
        let leaf = ca.leaf();
        let mut secret = Secret::holding(&leaf);
        prepare(&mut secret);
        let mut command = running();
        command
            .args(["--service-name", "under-test"])
            // By the environment, so that a test can say otherwise.
            .envs([("PORTCULLIS_DRAIN_DELAY", "0"), ("PORTCULLIS_WORKERS", "2")])
            .arg("--target")
            .arg(target.to_string())
            .arg("--cert-dir")
            .arg(secret.path())
            .args(args);
        Self::spawn(command, ca, leaf, secret).await
    }

    pub(crate) async fn spawn(mut command: Command, ca: Ca, leaf: Leaf, secret: Secret) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stalled = Arc::new(AtomicBool::new(false));
        let (stdout, reader) = collect(child.stdout.take().unwrap(), Arc::clone(&stalled));
        let (stderr, _) = collect(child.stderr.take().unwrap(), Arc::default());
        let line = eventually("the sidecar listens", async || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!(
                    "the sidecar ended at once ({status}): {:?}",
                    stderr.lock().unwrap()
                );
            }
            stderr
                .lock()
                .unwrap()
                .iter()
                .find(|line| line.contains(" listening "))
                .cloned()
        })
        .await;
        let fields: HashMap<_, _> = line
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .collect();
        let address = |name: &str| fields.get(name).and_then(|text| text.parse().ok());
        Self {
            https: address("https").unwrap(),
            redirect: address("redirect"),
            admin: address("admin").unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            probe: address("probe").unwrap(),
            child,
            stdout,
            stderr,
            stalled,
            reader,
            ca,
            leaf,
            secret,
        }
    }

    pub(crate) fn stdout_text(&self) -> String {
        self.stdout.lock().unwrap().join("\n")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// From the next line on nobody reads stdout; the pipe stays open.
    pub(crate) fn stop_reading_stdout(&mut self) {
        self.stalled.store(true, Ordering::Relaxed);
    }

    /// Reads what there is, and goes on.
    pub(crate) fn read_stdout_again(&mut self) {
        self.stalled.store(false, Ordering::Relaxed);
        self.reader.unpark();
    }

    /// Everything on stdout so far, each line parsed. A line that is no JSON fails the test.
    pub(crate) fn records(&self) -> Vec<Value> {
        let lines = self.stdout.lock().unwrap();
        lines
            .iter()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
            })
            .collect()
    }

    pub(crate) fn log(&self) -> String {
        self.stderr.lock().unwrap().join("\n")
    }

    /// Waits until a drain accepts no more.
    pub(crate) async fn finishing(&self) {
        eventually("it finishes", async || {
            let log = self.log();
            log.contains("finishing what is in flight").then_some(())
        })
        .await;
    }

    /// Waits for a record on stdout.
    pub(crate) async fn record(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("a record: {what}"), async || {
            self.records().into_iter().find(|record| wanted(record))
        })
        .await
    }

    /// Waits for the record of the exchange on this path.
    pub(crate) async fn exchange(&self, path: &str) -> Value {
        self.record(path, |record| {
            record["kind"] == "exchange" && record["path"] == path
        })
        .await
    }

    pub(crate) async fn admin(&self, path: &str) -> Answer {
        send(
            self.admin,
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        )
        .await
    }

    pub(crate) async fn probe(&self, path: &str) -> Answer {
        send(
            self.probe,
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        )
        .await
    }

    /// The value of a metric; 0 where there is no such series.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let text = self.probe("/metrics").await.text();
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        let value: f64 = text.lines().find_map(value).unwrap_or_default();
        value as u64
    }

    /// A request without a body to the admin plane.
    pub(crate) async fn ask_admin(&self, method: &str, path: &str, fields: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n{fields}\r\n"
        );
        send(self.admin, request).await
    }

    pub(crate) async fn put_target(&self, body: &str) -> Answer {
        let length = body.len();
        send(self.admin, format!("PUT /target HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")).await
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = eventually("the process ends", async || self.child.try_wait().unwrap()).await;
        // The pipes are closed now; the collecting threads end with their last line, and let go of it.
        let is_read = |lines: &Lines| Arc::strong_count(lines) == 1;
        let is_stalled = self.stalled.load(Ordering::Relaxed);
        eventually("its output is read", async || {
            (is_read(&self.stderr) && (is_stalled || is_read(&self.stdout))).then_some(())
        })
        .await;
        let text = |lines: &Lines| lines.lock().unwrap().join("\n");
        Ended {
            code: status.code(),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
        }
    }
}

impl Drop for Sidecar {
    #[expect(
        clippy::print_stderr,
        reason = "what a failed test needs to be understood"
    )]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the sidecar's own log\n{}", self.log());
        }
    }
}

impl Ended {
    /// Runs a command that ends by itself.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let end = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > end {
                let _ = child.kill();
                panic!("{command:?} did not end");
            }
            thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// Collects lines on a thread of its own, for as long as there is no reason to stop.
fn collect(pipe: impl Read + Send + 'static, stop: Arc<AtomicBool>) -> (Lines, Thread) {
    let lines = Lines::default();
    let collected = Arc::clone(&lines);
    let reading = thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
            collected.lock().unwrap().push(line.trim_end().to_owned());
            line.clear();
            while stop.load(Ordering::Relaxed) {
                thread::park();
            }
        }
    });
    (lines, reading.thread().clone())
}
