//! What the fuzz targets may touch of the parsers that read a client's bytes. Compiled for them alone (`cfg(fuzzing)`).

use std::io;
use std::iter::Cycle;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::slice;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::byte_stream::ByteStream;
use crate::headers::{self, OwnWords, Phrases};
use crate::http::{Framer, Framing, HeadLimits, Next, Reads, RequestBody, RequestProgress};
use crate::origin;

/// How large a head may be here: less than by default, so that short inputs reach the limit.
pub const MAX_HEAD: usize = 2048;
/// How long a target may be here.
pub const MAX_URI: usize = 512;
/// The client whose requests [`forwarded`] takes.
pub const CLIENT: &str = "203.0.113.9";
/// The id it gives them.
pub const REQUEST_ID: &str = "00000000-0000-4000-8000-000000000000";
/// The Host it gives those of HTTP/1.0 that have none.
pub const DEFAULT_HOST: &str = "application.example";

/// How the body behind a head is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// So many bytes; 0 also where the head says nothing of a body.
    Length(u64),
    /// Chunked.
    Chunked,
}

/// A message whose head the framer let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The beginning of its request line: the method, and a target in origin form.
    pub line: String,
    /// How the head frames what follows.
    pub framing: BodyFraming,
    /// Whether it was read to its end.
    pub is_whole: bool,
    /// What was handed on of its body.
    pub data: Vec<u8>,
}

/// Why the framer went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client ended the connection between two messages.
    End,
    /// The client went away in the middle of a head.
    Gone,
    /// The next head cannot be served.
    Refused(&'static str),
    /// The last message's body broke.
    Broken(&'static str),
}

/// A client's bytes as the framer cuts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed {
    /// The messages, in order. Only the last one may lack its end.
    pub messages: Vec<Message>,
    /// What came after them.
    pub ended: Ended,
}

/// Runs the framer over `bytes`, which arrive in pieces of these sizes, over and over; all at once where there are none.
/// A size of 0 is a byte that has to be waited for.
///
/// # Panics
/// When a part of a body is handed on that is none.
pub fn frame(bytes: &[u8], pieces: &[u8]) -> Framed {
    let mut framer = Framer::new(Pieces::new(bytes, pieces));
    let mut cx = Context::from_waker(Waker::noop());
    let mut messages = Vec::new();
    let ended = loop {
        let next = loop {
            if let Poll::Ready(next) = framer.poll_next(LIMITS, &mut cx) {
                break next;
            }
        };
        let head = match next {
            Next::Head(head) => head,
            Next::End => break Ended::End,
            Next::Gone => break Ended::Gone,
            Next::Refused(reason) => break Ended::Refused(reason.word()),
        };
        // The absolute form is written back in another way.
        let uri = head.request.uri();
        let path = uri.path_and_query().filter(|_| uri.scheme().is_none());
        let path = path.map_or("", |path| path.as_str());
        let mut message = Message {
            line: format!("{} {path}", head.request.method()),
            framing: match head.framing {
                Framing::Length(length) => BodyFraming::Length(length),
                Framing::Chunked => BodyFraming::Chunked,
            },
            is_whole: false,
            data: Vec::new(),
        };
        let progress = Rc::<RequestProgress>::default();
        framer.begin(head.framing, Rc::clone(&progress));
        while !progress.is_read_whole() && progress.failed().is_none() {
            if let Poll::Ready(Some(Ok(part))) = framer.poll_part(&mut cx)
                && let Ok(data) = part.into_data()
            {
                assert!(!data.is_empty(), "a part of a body is empty");
                message.data.extend_from_slice(&data);
            }
        }
        message.is_whole = progress.is_read_whole();
        messages.push(message);
        if let Some(reason) = progress.failed() {
            break Ended::Broken(reason.word());
        }
    };
    Framed { messages, ended }
}

/// The fields that go to the application for the request at the front of `bytes`, which [`CLIENT`] has sent by TLS and
/// without a certificate, and who is no trusted proxy. None where it is refused.
pub fn forwarded(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut framer = Framer::new(Pieces::new(bytes, &[]));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Next::Head(head)) = framer.poll_next(LIMITS, &mut cx) else {
        return None;
    };
    let mut request = head.request.map(|()| RequestBody::empty(Rc::default()));
    let own = OwnWords {
        peer: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        trusted: None,
        request_id: REQUEST_ID,
        proto: "https",
        public_port: 443,
        client_certificate: None,
        default_host: DEFAULT_HOST,
        phrases: &Phrases::default(),
    };
    headers::to_upstream(&mut request, &own).ok()?;
    let fields = request.headers().iter();
    let owned = fields.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    Some(owned.collect())
}

/// What a PROXY header at the front of `bytes` says, and how many of them were read. The inner None is a connection that
/// is the load balancer's own, or that it does not name; the outer one is refused.
pub fn proxy_header(bytes: &[u8]) -> (Option<Option<SocketAddr>>, usize) {
    let mut rest = bytes;
    let read = {
        let reading = pin!(origin::read(&mut rest));
        match reading.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(read) => read.ok(),
            Poll::Pending => unreachable!("a slice is always ready"),
        }
    };
    (read, bytes.len() - rest.len())
}

/// A client whose bytes arrive in pieces, and who takes all that is written.
#[derive(Debug)]
struct Pieces<'a> {
    rest: &'a [u8],
    sizes: Cycle<slice::Iter<'a, u8>>,
    /// The last read had to wait; this one finds a byte, so that the sizes cannot make it wait for ever.
    has_waited: bool,
}

impl<'a> Pieces<'a> {
    fn new(bytes: &'a [u8], sizes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            sizes: sizes.iter().cycle(),
            has_waited: false,
        }
    }
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = if self.has_waited {
            1
        } else {
            let size = self.sizes.next();
            size.map_or(usize::MAX, |size| usize::from(*size))
        };
        self.has_waited = size == 0;
        if self.has_waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let bytes = self.rest;
        let (piece, rest) = bytes.split_at(size.min(bytes.len()).min(out.remaining()));
        out.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

impl ByteStream for Pieces<'_> {}

impl AsyncWrite for Pieces<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const LIMITS: HeadLimits = HeadLimits {
    head: MAX_HEAD,
    uri: MAX_URI,
    fields: 100,
};
