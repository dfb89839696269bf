//! An application that answers each request at once, in one piece, and keeps its connections.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Bytes of each answer's body, and of a request's where it has one.
pub(crate) const BODY: usize = 1024;
/// Requests for `/together` are answered when there are so many of them.
pub(crate) const TOGETHER: usize = 50;
/// Answers to `/long` that nobody has taken any of for a while.
pub(crate) static STUCK: AtomicUsize = AtomicUsize::new(0);

/// It lives as long as the tests do.
pub(crate) struct App(SocketAddr);

impl App {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || stream.map(answer));
            }
        });
        Self(address)
    }
}

/// Until the sidecar leaves.
fn answer(mut stream: TcpStream) {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY}\r\n\r\n{}",
        "x".repeat(BODY)
    );
    let (mut bytes, mut here) = ([0; 16 * 1024], 0);
    while let Ok(read @ 1..) = stream.read(&mut bytes[here..]) {
        here += read;
        if is_whole(&bytes[..here]) {
            here = 0;
            if bytes.starts_with(b"GET /together ") {
                ALL.wait();
            }
            if bytes.starts_with(b"GET /long ") {
                return answer_at_length(&mut stream);
            }
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// As much as anybody takes.
fn answer_at_length(stream: &mut TcpStream) {
    stream.set_write_timeout(Some(STILL)).unwrap();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    let mut piece = &head[..];
    let long = vec![b'x'; 1 << 20];
    while stream.write_all(piece).is_ok() {
        piece = &long;
    }
    STUCK.fetch_add(1, Ordering::Relaxed);
    // Open until the sidecar leaves.
    let _ = stream.read(&mut [0; 1]);
}

fn is_whole(request: &[u8]) -> bool {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n");
    let body = if request.starts_with(b"POST") {
        BODY
    } else {
        0
    };
    end.is_some_and(|end| request.len() >= end + 4 + body)
}

static ALL: Barrier = Barrier::new(TOGETHER);
const STILL: Duration = Duration::from_secs(1);

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}
