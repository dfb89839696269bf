//! The sidecar as a child process: its log goes into the books line by line, and its planes are asked as an operator would.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::books::Books;

/// Killed on drop.
pub(crate) struct Sidecar {
    child: Mutex<Child>,
    pub(crate) pid: u32,
    pub(crate) https: SocketAddr,
    pub(crate) admin: SocketAddr,
    probe: SocketAddr,
    /// The end of its own log.
    own_log: Arc<Mutex<VecDeque<String>>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

impl Sidecar {
    pub(crate) async fn start(
        binary: &Path,
        target: &str,
        certificates: &Path,
        books: Arc<Books>,
    ) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command.env_clear().stdin(Stdio::null());
        command.args(["run", "--listen", "127.0.0.1:0", "--probe", "127.0.0.1:0"]);
        command.args([
            "--admin",
            "127.0.0.1:0",
            "--workers",
            "2",
            "--target",
            target,
        ]);
        command.args(["--drain-delay", "1s", "--log-format", "json", "--cert-dir"]);
        command.arg(certificates);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let own_log = Arc::<Mutex<VecDeque<String>>>::default();
        let readers = [
            child
                .stdout
                .take()
                .map(|pipe| read_records(pipe, Arc::clone(&books))),
            child
                .stderr
                .take()
                .map(|pipe| read_own_log(pipe, Arc::clone(&own_log), books)),
        ];
        let listening = listening(&own_log).await?;
        let address = |name: &str| {
            let text = listening.get(name).map_or("", String::as_str);
            text.parse()
                .map_err(|_| io::Error::other(format!("no address of {name}")))
        };
        let sidecar = Self {
            pid: child.id(),
            https: address("https")?,
            admin: address("admin")?,
            probe: address("probe")?,
            child: Mutex::new(child),
            own_log,
            readers: Mutex::new(readers.into_iter().flatten().collect()),
        };
        sidecar.ready().await?;
        Ok(sidecar)
    }

    async fn ready(&self) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.probe("/readyz").await?.0 != 200 {
            if Instant::now() > end {
                return Err(io::Error::other("it does not become ready"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Status and body of a GET on the probe plane.
    pub(crate) async fn probe(&self, path: &str) -> io::Result<(u16, String)> {
        ask(self.probe, "GET", path, "").await
    }

    /// The same on the admin plane, with a body of JSON where there is one.
    pub(crate) async fn admin(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> io::Result<(u16, String)> {
        ask(self.admin, method, path, body).await
    }

    pub(crate) async fn admin_json(&self, path: &str) -> io::Result<Value> {
        let (status, body) = self.admin("GET", path, "").await?;
        if status != 200 {
            return Err(io::Error::other(format!("{status} from {path}: {body}")));
        }
        serde_json::from_str(&body).map_err(io::Error::other)
    }

    /// How it ended, if it has.
    pub(crate) fn has_ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().ok().flatten()
    }

    pub(crate) fn terminate(&self) -> io::Result<()> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kill_process(Pid::from_child(&child), Signal::TERM)?)
    }

    /// Waits until everything it has written is read: its pipes are closed by its end.
    pub(crate) fn is_read(&self) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        for reader in readers.drain(..) {
            let _ = reader.join();
        }
    }

    /// The latest lines of its own log.
    pub(crate) fn own_log(&self) -> Vec<String> {
        let lines = self.own_log.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Resident memory in KiB and threads, as the kernel counts them.
    pub(crate) fn size(&self) -> io::Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let size = number("VmRSS:").zip(number("Threads:"));
        size.ok_or_else(|| io::Error::other("the process is gone"))
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The fields of the line that says where it listens.
async fn listening(own_log: &Mutex<VecDeque<String>>) -> io::Result<HashMap<String, String>> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let lines = own_log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(line) = lines.iter().find(|line| line.contains(" listening ")) {
            let pair = |word: &str| {
                let (name, value) = word.split_once('=')?;
                Some((name.to_owned(), value.to_owned()))
            };
            return Ok(line.split_whitespace().filter_map(pair).collect());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Err(io::Error::other("it does not listen"))
}

/// On a thread of its own, so that the log never waits for the soak.
fn read_records(pipe: ChildStdout, books: Arc<Books>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            books.line(&line);
        }
    })
}

fn read_own_log(
    pipe: ChildStderr,
    kept: Arc<Mutex<VecDeque<String>>>,
    books: Arc<Books>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if line.contains("panicked") {
                books.violated(format!("its own log: {line}"));
            }
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == MOST_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    })
}

/// One request in clear.
async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = timeout(PATIENCE, asked).await??;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no answer: {head}")))?;
    Ok((status, body.to_owned()))
}

/// How long its planes may take. Only a failure uses it up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const MOST_LINES: usize = 100;
