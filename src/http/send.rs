//! Sending a body over HTTP/2, to a client or to the application, as fast as the other side's window allows.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason as Code, SendStream};
use http_body::{Body, Frame};

use super::progress::RequestProgress;
use super::request_body::Fault;

/// How it ended.
pub(crate) enum Sent {
    Whole,
    /// The other side wants no more of it.
    Reset,
    /// It broke off; this is the code to tell the other side.
    Broken(Code),
}

/// Sends a body, and ends the stream only if it is whole. `broken` is the code for one that breaks off and has none.
///
/// With `client`, the other side is that client, and who watches its progress is told whether it takes what there is.
pub(crate) async fn send_body<B>(
    stream: &mut SendStream<Bytes>,
    mut body: Pin<&mut B>,
    broken: Code,
    client: Option<&RequestProgress>,
) -> Sent
where
    B: Body<Data = Bytes, Error = Fault>,
{
    loop {
        let frame = match poll_fn(|cx| poll_frame(stream, body.as_mut(), broken, cx)).await {
            Next::Frame(frame) => frame,
            Next::Reset => return Sent::Reset,
            Next::Broken(code) => return Sent::Broken(code),
            Next::End => return ended(&stream.send_data(Bytes::new(), true)),
        };
        match frame.into_data() {
            Ok(data) => {
                let is_last = body.is_end_stream();
                match send_data(stream, data, is_last, client).await {
                    Sent::Whole if !is_last => {}
                    sent => return sent,
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return ended(&stream.send_trailers(trailers));
                }
            }
        }
    }
}

fn ended(sent: &Result<(), h2::Error>) -> Sent {
    match sent {
        Ok(()) => Sent::Whole,
        Err(_) => Sent::Reset,
    }
}

enum Next {
    Frame(Frame<Bytes>),
    End,
    Broken(Code),
    Reset,
}

fn poll_frame<B>(
    stream: &mut SendStream<Bytes>,
    body: Pin<&mut B>,
    broken: Code,
    cx: &mut Context<'_>,
) -> Poll<Next>
where
    B: Body<Data = Bytes, Error = Fault>,
{
    if stream.poll_reset(cx).is_ready() {
        return Poll::Ready(Next::Reset);
    }
    Poll::Ready(match ready!(body.poll_frame(cx)) {
        Some(Ok(frame)) => Next::Frame(frame),
        Some(Err(error)) => Next::Broken(code(&error).unwrap_or(broken)),
        None => Next::End,
    })
}

/// A stream that was reset is reset on the other side for the same reason.
fn code(error: &Fault) -> Option<Code> {
    let reset = error.downcast_ref::<h2::Error>();
    reset.and_then(h2::Error::reason)
}

/// Sends one piece in as many as the window wants.
async fn send_data(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
    client: Option<&RequestProgress>,
) -> Sent {
    loop {
        stream.reserve_capacity(data.len());
        let granted = match stream.capacity() {
            0 if !data.is_empty() => match poll_fn(|cx| poll_window(stream, client, cx)).await {
                Window::Open(granted) => granted,
                Window::Reset => return Sent::Reset,
                Window::GivenUp => return Sent::Broken(Code::CANCEL),
            },
            granted => granted,
        };
        let piece = data.split_to(granted.min(data.len()));
        let is_end = data.is_empty();
        if let Some(client) = client {
            client.standing.has_taken(piece.len());
        }
        if stream.send_data(piece, is_end && is_last).is_err() {
            return Sent::Reset;
        }
        if is_end {
            return Sent::Whole;
        }
    }
}

enum Window {
    Open(usize),
    Reset,
    GivenUp,
}

fn poll_window(
    stream: &mut SendStream<Bytes>,
    client: Option<&RequestProgress>,
    cx: &mut Context<'_>,
) -> Poll<Window> {
    let polled = stream.poll_capacity(cx);
    if let Some(client) = client {
        client.standing.client_blocked(polled.is_pending());
        if client.standing.is_condemned() {
            return Poll::Ready(Window::GivenUp);
        }
    }
    polled.map(|capacity| match capacity {
        Some(Ok(granted)) => Window::Open(granted),
        Some(Err(_)) | None => Window::Reset,
    })
}
