//! Clients of HTTP/1.1: many requests on a connection, or one.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::time::timeout;

use crate::content::{Content, Due, PIECE};
use crate::dial::Secured;
use crate::line::{field, head};
use crate::plan::{Fate, Plan, Wire};
use crate::verdict::Outcome;
use crate::world::World;

/// One client after the other.
pub(crate) async fn clients(world: Arc<World>, mut rng: fastrand::Rng, wire: Wire) {
    while world.goes_on() {
        let requests = if wire == Wire::Kept {
            rng.usize(1..20)
        } else {
            1
        };
        let Some(stream) = world.dialer.http1(&mut rng).await else {
            return;
        };
        client(&world, &mut rng, stream, (wire, requests)).await;
        world.pause(&mut rng, 10..200).await;
    }
}

async fn client(
    world: &World,
    rng: &mut fastrand::Rng,
    stream: Secured,
    (wire, requests): (Wire, usize),
) {
    let mut talk = Talk::new(stream);
    for _ in 0..requests {
        let plan = Plan::any(rng, wire);
        talk.request(world, &plan).await;
        if talk.is_over || !world.goes_on() {
            break;
        }
        world.pause(rng, 5..150).await;
    }
    leave(talk.stream.into_inner(), rng).await;
}

/// In order, without a word, or with a reset.
pub(crate) async fn leave(mut stream: Secured, rng: &mut fastrand::Rng) {
    match rng.u8(..3) {
        0 => {
            let _ = stream.shutdown().await;
        }
        1 => {}
        _ => {
            let _ = stream.get_ref().0.set_zero_linger();
        }
    }
}

pub(crate) struct Talk {
    stream: BufStream<Secured>,
    /// The sidecar will not answer any more on this connection.
    is_over: bool,
}

impl Talk {
    pub(crate) fn new(stream: Secured) -> Self {
        Self {
            stream: BufStream::with_capacity(PIECE, PIECE, stream),
            is_over: false,
        }
    }

    /// One request, from its entry in the books to its outcome there.
    pub(crate) async fn request(&mut self, world: &World, plan: &Plan) {
        let id = world.books.open(*plan);
        let began = Instant::now();
        let done = timeout(PATIENCE, self.exchange(world, plan, id)).await;
        let outcome = match done {
            Ok(Ok(Got::Whole(app))) => Outcome::Whole {
                app,
                took: began.elapsed(),
            },
            Ok(Ok(Got::Status(status))) => Outcome::Answered(status),
            Ok(Ok(Got::Wrong(what))) => Outcome::Wrong(what),
            Ok(Ok(Got::Enough)) => Outcome::Left,
            Ok(Err(_)) if plan.fate == Fate::LeavesInResponse => Outcome::Left,
            Ok(Err(error)) => Outcome::Cut(error.to_string()),
            Err(_) => Outcome::Wrong(format!("not over after {PATIENCE:?}")),
        };
        self.is_over |= !matches!(outcome, Outcome::Whole { .. } | Outcome::Answered(_));
        world.books.ended(id, outcome);
    }

    async fn exchange(&mut self, world: &World, plan: &Plan, id: u64) -> io::Result<Got> {
        // Whoever cannot send its request has an answer all the same.
        let _ = self.send(plan, id).await;
        if plan.fate == Fate::LeavesInRequest {
            world.is_at_app(id).await;
            return Ok(Got::Enough);
        }
        self.receive(plan, id).await
    }

    async fn send(&mut self, plan: &Plan, id: u64) -> io::Result<()> {
        let framing = match plan.method() {
            "PUT" => format!("Content-Length: {}\r\n", plan.up),
            "POST" => "Transfer-Encoding: chunked\r\n".to_owned(),
            _ => String::new(),
        };
        let close = if plan.wire == Wire::Once {
            "Connection: close\r\n"
        } else {
            ""
        };
        let (method, target) = (plan.method(), plan.target(id));
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{framing}{close}\r\n");
        self.stream.write_all(head.as_bytes()).await?;
        let mut content = Content::new(id, plan.up);
        let mut sent = 0;
        while let Some(piece) = content.next(PIECE - 100) {
            if plan.fate == Fate::LeavesInRequest && sent * 2 >= plan.up {
                return self.stream.flush().await;
            }
            if plan.method() == "POST" {
                let size = format!("{:x}\r\n", piece.len());
                self.stream.write_all(size.as_bytes()).await?;
            }
            self.stream.write_all(piece).await?;
            if plan.method() == "POST" {
                self.stream.write_all(b"\r\n").await?;
            }
            sent += piece.len();
        }
        if plan.method() == "POST" && plan.fate != Fate::LeavesInRequest {
            self.stream.write_all(b"0\r\n\r\n").await?;
        }
        self.stream.flush().await
    }

    async fn receive(&mut self, plan: &Plan, id: u64) -> io::Result<Got> {
        let Some(head) = head(&mut self.stream).await? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        self.is_over |= field(&head, "connection") == Some("close");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status: u16 = status.ok_or_else(|| io::Error::other(head.clone()))?;
        let is_from_app = field(&head, "x-soak-app").is_some();
        let mut due = is_from_app.then(|| Due::of(plan, id));
        if due.is_some() && field(&head, "x-soak-id") != Some(&id.to_string()) {
            return Ok(Got::Wrong(format!("the answer to another request: {head}")));
        }
        if plan.fate == Fate::LeavesInResponse {
            self.stream.fill_buf().await?;
            return Ok(Got::Enough);
        }
        let is_right = self.body(&head, due.as_mut()).await?;
        Ok(match (due, field(&head, "x-soak-app").map(str::parse)) {
            (Some(due), Some(Ok(app))) if is_right && due.is_over() && status == 200 => {
                Got::Whole(app)
            }
            (Some(_), _) => Got::Wrong("the body is not what was asked for".to_owned()),
            (None, _) => Got::Status(status),
        })
    }

    /// Reads a body, and tells whether it is what was due.
    async fn body(&mut self, head: &str, mut due: Option<&mut Due>) -> io::Result<bool> {
        if let Some(length) = field(head, "content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            return self.piece(length, &mut due).await;
        }
        let mut is_right = true;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            is_right &= self.piece(size, &mut due).await?;
            self.piece(2, &mut None).await?;
            if size == 0 {
                return Ok(is_right);
            }
        }
    }

    async fn piece(&mut self, mut length: usize, due: &mut Option<&mut Due>) -> io::Result<bool> {
        let mut is_right = true;
        while length > 0 {
            let bytes = self.stream.fill_buf().await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = bytes.len().min(length);
            if let Some(due) = due {
                is_right &= due.matches(&bytes[..count]);
            }
            self.stream.consume(count);
            length -= count;
        }
        Ok(is_right)
    }
}

/// What came.
enum Got {
    /// All that was asked for, from this application.
    Whole(usize),
    /// The sidecar's own answer.
    Status(u16),
    Wrong(String),
    /// As much as the client wanted.
    Enough,
}

/// For a request from its beginning to its end; nothing here takes nearly as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
