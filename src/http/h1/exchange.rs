//! One exchange, in the task of its connection: the request is answered, the answer is written, and what the client still
//! sends is read by whoever takes it to the application.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};

use super::response::{Asked, Written, write, write_interim};
use crate::byte_stream::{ByteStream, RECORD};
use crate::failure::Reason;
use crate::http::framer::{Framer, Reads};
use crate::http::head::{Framing, Head};
use crate::http::message::Message;
use crate::http::progress::RequestProgress;
use crate::http::request_body::RequestBody;
use crate::http::response_body::ResponseBody;
use crate::http::timer::Timer;
use crate::http::tunnel::Tunnel;
use crate::records::Exchange;
use crate::worker::Worker;

/// How an exchange left its connection.
pub(super) enum Ended {
    /// Whole; the next one may come.
    KeepAlive,
    /// Whole, and the last one.
    Close,
    /// Answered while the client was still sending.
    Linger,
    /// From here on it is another protocol's.
    Upgraded(Box<Tunnel>),
    /// In doubt: the client must not take it for whole, so no close_notify.
    Cut,
}

/// Hands this request on, and writes the answer.
pub(super) async fn exchange<S, N, F, E>(
    framer: &Rc<RefCell<Framer<S>>>,
    head: Box<Head>,
    mut opened: Box<Exchange>,
    worker: &Rc<Worker>,
    next: &N,
) -> Ended
where
    S: ByteStream + 'static,
    N: Fn(Box<Request<RequestBody>>, Box<Exchange>) -> F,
    F: Future<Output = Result<Response<ResponseBody>, E>>,
{
    let (progress, conn) = (opened.progress(), Rc::clone(opened.conn()));
    framer
        .borrow_mut()
        .begin(head.framing, Rc::clone(&progress));
    let _watched = worker
        .watch
        .add(Rc::clone(&progress), conn.wire.clone(), true);
    let request = &head.request;
    opened.request(
        request.method(),
        request.uri(),
        request.version(),
        request.headers(),
    );
    let keeps_case = worker.config.header_case_kept;
    let asked = Asked::new(request, head.is_kept, keeps_case);
    let answering = next(request_of(framer, *head, &progress, keeps_case), opened);
    let serving = Serving::new(framer, &progress);
    let mut ahead = Vec::new();
    let Some(mut response) = serving.answer(answering, asked, &mut ahead).await else {
        return Ended::Cut;
    };
    let tunnel = response.body_mut().take_tunnel();
    if worker.is_leaving_for(&conn) && tunnel.is_none() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    let (mut head, body) = response.into_parts();
    let spelling = progress.take_spelling();
    let Written {
        head,
        framed,
        closes,
    } = write(
        &mut head,
        &body,
        spelling.as_ref(),
        asked,
        &worker.date,
        ahead,
    );
    let message = Message::new(head, framed, body, RECORD, keeps_case).ending_by_length();
    if !serving.send(message).await {
        return Ended::Cut;
    }
    if let Some(tunnel) = tunnel {
        return Ended::Upgraded(Box::new(tunnel));
    }
    serving
        .until_let_go(worker.config.limits.response_timeout)
        .await;
    match (progress.is_read_whole(), progress.is_let_go()) {
        (true, true) if !closes && !worker.is_closing_for(&conn) => Ended::KeepAlive,
        (true, _) => Ended::Close,
        (false, _) => Ended::Linger,
    }
}

fn request_of<S: ByteStream + 'static>(
    framer: &Rc<RefCell<Framer<S>>>,
    head: Head,
    progress: &Rc<RequestProgress>,
    keeps_case: bool,
) -> Box<Request<RequestBody>> {
    let progress = Rc::clone(progress);
    let body = match head.framing {
        Framing::Length(0) => RequestBody::empty(progress),
        _ => {
            let framer: Rc<RefCell<dyn Reads>> = Rc::<RefCell<Framer<S>>>::clone(framer);
            RequestBody::h1(Rc::downgrade(&framer), progress)
        }
    };
    let mut request = head.request.map(|()| body);
    if let Some(spelling) = head.spelling.filter(|_| keeps_case) {
        request.extensions_mut().insert(spelling);
    }
    Box::new(request)
}

/// What an exchange is served by.
struct Serving<'a, S> {
    framer: &'a RefCell<Framer<S>>,
    progress: &'a RequestProgress,
    /// Bytes of a body that nobody wants which may still be read rather than that the connection ends.
    may_pass_over: Cell<usize>,
}

impl<S> Drop for Serving<'_, S> {
    fn drop(&mut self) {
        if !self.progress.is_read_whole() {
            // From here on what comes is nobody's. Whoever still reads would take what follows a gap for the rest, or wait.
            self.progress.give_up();
        }
    }
}

impl<'a, S: ByteStream> Serving<'a, S> {
    fn new(framer: &'a RefCell<Framer<S>>, progress: &'a RequestProgress) -> Self {
        Self {
            framer,
            progress,
            may_pass_over: Cell::new(MOST_PASSED_OVER),
        }
    }

    /// Waits for the answer, and passes on what comes ahead of it; as far as that has not left, it stays in `ahead`. None when
    /// there is nobody to be answered.
    async fn answer<E>(
        &self,
        answering: impl Future<Output = Result<Response<ResponseBody>, E>>,
        asked: Asked,
        ahead: &mut Vec<u8>,
    ) -> Option<Response<ResponseBody>> {
        let mut answering = pin!(answering);
        let mut is_sending = false;
        poll_fn(|cx| {
            self.progress.standing.served_by(cx.waker());
            let answered = answering.as_mut().poll(cx);
            for interim in self.progress.take_interim() {
                if !asked.is_old {
                    write_interim(&interim, asked.keeps_case, ahead);
                    is_sending = true;
                }
            }
            if let Poll::Ready(answered) = answered {
                return Poll::Ready(answered.ok());
            }
            is_sending = is_sending && self.poll_send_ahead(ahead, cx).is_pending();
            // Who leaves is noticed once the body is read, perhaps by another task.
            self.progress.wake_when_let_go(cx.waker());
            self.framer.borrow_mut().poll_gone(cx).map(|_| None)
        })
        .await
    }

    /// Writes what is there, as far as the client takes it. That it has gone is told elsewhere.
    fn poll_send_ahead(&self, ahead: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<()> {
        let mut framer = self.framer.borrow_mut();
        while !ahead.is_empty() {
            match ready!(framer.poll_write(&[IoSlice::new(ahead)], cx)) {
                Ok(count @ 1..) => drop(ahead.drain(..count)),
                _ => return Poll::Ready(()),
            }
        }
        framer.poll_flush(cx).map(|_| ())
    }

    /// Writes the answer; whether all of it has left.
    async fn send(&self, mut message: Message<ResponseBody>) -> bool {
        let mut doubt = None;
        poll_fn(|cx| {
            let standing = &self.progress.standing;
            standing.served_by(cx.waker());
            if let Poll::Ready(sent) = self.poll_send(&mut message, cx) {
                return Poll::Ready(sent.is_some());
            }
            self.pass_over(cx);
            // Without close_notify the client knows that it is not whole.
            if standing.is_condemned() || self.framer.borrow_mut().poll_gone(cx).is_ready() {
                return Poll::Ready(false);
            }
            // Who leaves is noticed once the body is read.
            self.progress.wake_when_let_go(cx.waker());
            if !self.progress.is_in_doubt() {
                return Poll::Pending;
            }
            // An event stream may be silent for hours; its client's close would only show at the next write.
            let timer = doubt.get_or_insert_with(|| Timer::new(GRACE));
            timer.poll_expired(cx).map(|()| {
                self.progress.fail(Reason::ClientGone);
                false
            })
        })
        .await
    }

    /// None when it breaks off.
    fn poll_send(
        &self,
        message: &mut Message<ResponseBody>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<()>> {
        while !message.is_written() {
            let Ok(gathered) = message.poll_gather(cx) else {
                return Poll::Ready(None);
            };
            if message.has_bytes() {
                let write = |parts: &[IoSlice<'_>]| self.framer.borrow_mut().poll_write(parts, cx);
                if ready!(message.poll_write(write)).is_err() {
                    return Poll::Ready(None);
                }
            } else if gathered.is_pending() {
                // What was written leaves meanwhile.
                let flushed = self.framer.borrow_mut().poll_flush(cx);
                return match flushed {
                    Poll::Ready(Err(_)) => Poll::Ready(None),
                    _ => Poll::Pending,
                };
            }
        }
        self.framer.borrow_mut().poll_flush(cx).map(Result::ok)
    }

    /// The answer came early where the application still reads: that goes on as long as something moves. What the client has
    /// sent of a body that nobody wants is passed over.
    async fn until_let_go(&self, stall: Duration) {
        let mut timer = None;
        poll_fn(|cx| {
            let standing = &self.progress.standing;
            standing.served_by(cx.waker());
            if self.progress.poll_let_go(cx).is_ready() || standing.is_condemned() {
                self.pass_over(cx);
                return Poll::Ready(());
            }
            let timer = timer.get_or_insert_with(|| Timer::new(stall));
            while timer.poll_expired(cx).is_ready() {
                let moved = self.progress.moved();
                let left = stall.saturating_sub(moved.map_or(stall, |at| at.elapsed()));
                if left.is_zero() {
                    return Poll::Ready(());
                }
                timer.set(left);
            }
            Poll::Pending
        })
        .await;
    }

    /// Passes over what is here of a body that nobody wants any more.
    fn pass_over(&self, cx: &mut Context<'_>) {
        while self.progress.is_let_go()
            && self.may_pass_over.get() > 0
            && let Poll::Ready(Some(Ok(part))) = self.framer.borrow_mut().poll_part(cx)
        {
            let passed = part.data_ref().map_or(0, bytes::Bytes::len);
            self.may_pass_over
                .set(self.may_pass_over.get().saturating_sub(passed));
        }
    }
}

/// How long a response of unknown length goes on for a client that has said it will send no more.
const GRACE: Duration = Duration::from_millis(500);
const MOST_PASSED_OVER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::Waker;

    use http::StatusCode;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;

    /// Takes everything, and lets it leave when the client reads, as TLS does.
    #[derive(Default)]
    struct Held {
        taken: Vec<u8>,
        has_left: Cell<bool>,
        client_reads: Rc<Cell<bool>>,
    }

    impl AsyncRead for Held {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Held {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.taken.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if !self.client_reads.get() {
                return Poll::Pending;
            }
            self.has_left.set(true);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl ByteStream for Held {}

    #[test]
    fn what_goes_ahead_leaves_when_the_client_reads_although_there_is_no_answer_yet() {
        let client_reads = Rc::<Cell<bool>>::default();
        let stream = Held {
            client_reads: Rc::clone(&client_reads),
            ..Held::default()
        };
        let (framer, progress) = (
            RefCell::new(Framer::new(stream)),
            RequestProgress::default(),
        );
        let serving = Serving::new(&framer, &progress);
        let asked = Asked::new(&Request::new(()), true, true);
        let answering = std::future::pending::<Result<Response<ResponseBody>, ()>>();
        let mut ahead = Vec::new();
        let mut interim = Response::new(());
        *interim.status_mut() = StatusCode::CONTINUE;
        progress.tell(interim);
        {
            let mut answer = pin!(serving.answer(answering, asked, &mut ahead));
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(answer.as_mut().poll(cx).is_pending());
            assert!(!framer.borrow_mut().stream().has_left.get());
            client_reads.set(true);
            assert!(answer.as_mut().poll(cx).is_pending());
        }
        let mut framer = framer.borrow_mut();
        assert_eq!(framer.stream().taken, b"HTTP/1.1 100 Continue\r\n\r\n");
        assert!(framer.stream().has_left.get());
    }
}
