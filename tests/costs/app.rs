//! An application that answers each request at once, in one piece, and keeps its connections.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Bytes of each answer's body, and of a request's where it has one.
pub(crate) const BODY: usize = 1024;

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
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
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

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}
