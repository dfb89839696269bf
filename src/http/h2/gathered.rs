//! What is written to a connection, gathered until its task has done what there is to do. The `h2` crate writes each frame of a
//! body by itself, and asks after each that it leave: a record of TLS, a system call and a wake-up of the client for every answer.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use crate::byte_stream::{RECORD, append};

/// Room that no connection of a worker needs now.
#[derive(Debug, Default)]
pub(crate) struct Spare(RefCell<BytesMut>);

/// A connection, and what is still to be written to it.
#[derive(Debug)]
pub(super) struct Gathered<S> {
    stream: RefCell<S>,
    /// Without room of its own while it is empty.
    bytes: RefCell<BytesMut>,
    spare: Rc<Spare>,
    /// Whether a flush may wait for [`Self::poll_send`].
    is_driven: Cell<bool>,
    /// Not all has left that was to.
    is_waiting: Cell<bool>,
}

impl<S: Unpin> Gathered<S> {
    pub(super) fn new(stream: S, spare: &Rc<Spare>) -> Self {
        Self {
            stream: RefCell::new(stream),
            bytes: RefCell::default(),
            spare: Rc::clone(spare),
            is_driven: Cell::default(),
            is_waiting: Cell::default(),
        }
    }

    pub(super) fn with<T>(&self, what: impl FnOnce(Pin<&mut S>) -> T) -> T {
        what(Pin::new(&mut self.stream.borrow_mut()))
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// From now on somebody sends what was gathered whenever the connection was driven.
    pub(super) fn drive(&self) {
        self.is_driven.set(true);
    }

    /// Takes what makes no record yet. What makes one is written, behind what was gathered.
    pub(super) fn poll_write(
        &self,
        parts: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.is_waiting.set(true);
        let mut bytes = self.bytes.borrow_mut();
        let count = parts.iter().map(|part| part.len()).sum();
        if bytes.len() + count <= RECORD {
            if bytes.is_empty() {
                *bytes = self.spare.0.take();
                bytes.reserve(RECORD);
            }
            for part in parts {
                append(&mut bytes, part);
            }
            return Poll::Ready(Ok(count));
        }
        loop {
            let written = ready!(self.poll_write_some(&mut bytes, parts, cx))?;
            if written > 0 {
                return Poll::Ready(Ok(written));
            }
        }
    }

    /// Sends nothing where somebody will.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_driven.get() {
            return Poll::Ready(Ok(()));
        }
        self.poll_send(cx)
    }

    /// Sends all there is.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_waiting.get() {
            // What TLS says by itself is none of this: behind the end of a connection it fails.
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_write_all(cx))?;
        ready!(self.with(|stream| stream.poll_flush(cx)))?;
        self.is_waiting.set(false);
        Poll::Ready(Ok(()))
    }

    fn poll_write_all(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = self.bytes.borrow_mut();
        while !bytes.is_empty() {
            ready!(self.poll_write_some(&mut bytes, &[], cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes once, what was gathered first: how many bytes of the parts were taken.
    fn poll_write_some(
        &self,
        bytes: &mut BytesMut,
        parts: &[IoSlice<'_>],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut all = [IoSlice::new(&[]); MOST_PARTS];
        all[0] = IoSlice::new(bytes);
        let mut count = usize::from(!bytes.is_empty());
        for (room, part) in all[count..].iter_mut().zip(parts) {
            *room = IoSlice::new(part);
            count += 1;
        }
        let written = ready!(self.with(|stream| stream.poll_write_vectored(cx, &all[..count])))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_bytes = written.min(bytes.len());
        bytes.advance(of_bytes);
        if of_bytes > 0 && bytes.is_empty() {
            self.spare.0.replace(std::mem::take(bytes));
        }
        Poll::Ready(Ok(written - of_bytes))
    }
}

/// Parts of a write; the `h2` crate gives the head of a frame and its payload.
const MOST_PARTS: usize = 16;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Notes what it is given at once, of which it takes so much.
    #[derive(Default)]
    struct Noted {
        writes: Vec<Vec<u8>>,
        flushes: usize,
        takes: Option<usize>,
    }

    impl AsyncWrite for Noted {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            if self.takes == Some(0) {
                return Poll::Pending;
            }
            let mut all: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            all.truncate(self.takes.unwrap_or(usize::MAX));
            let count = all.len();
            self.writes.push(all);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn writes(gathered: &Gathered<Noted>) -> Vec<usize> {
        let stream = gathered.stream.borrow();
        stream.writes.iter().map(Vec::len).collect()
    }

    /// Writes it as the `h2` crate writes a frame: all of it, and then a flush. False when it has to wait.
    fn frame(gathered: &Gathered<Noted>, mut bytes: &[u8]) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        while !bytes.is_empty() {
            match gathered.poll_write(&[IoSlice::new(bytes)], cx) {
                Poll::Ready(count) => bytes = &bytes[count.unwrap()..],
                Poll::Pending => return false,
            }
        }
        gathered.poll_flush(cx).is_ready()
    }

    fn send(gathered: &Gathered<Noted>) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        gathered.poll_send(cx).is_ready()
    }

    #[test]
    fn frames_of_many_answers_leave_at_once_and_nothing_is_kept() {
        let gathered = Gathered::new(Noted::default(), &Rc::default());
        // Nobody else would send what comes before that.
        assert!(frame(&gathered, &[1; 9]));
        assert_eq!(writes(&gathered), [9]);
        gathered.drive();
        for _ in 0..10 {
            assert!(frame(&gathered, &[2; 1024]));
        }
        assert_eq!(writes(&gathered), [9]);
        assert!(send(&gathered));
        assert_eq!(writes(&gathered), [9, 10 * 1024]);
        // Where nothing waits the stream is left alone: it may be closed.
        assert!(send(&gathered));
        assert_eq!(gathered.stream.borrow().flushes, 2);
        assert_eq!(gathered.bytes.borrow().capacity(), 0);
    }

    #[test]
    fn what_makes_a_record_is_not_kept_back_and_comes_behind_what_was_gathered() {
        let gathered = Gathered::new(Noted::default(), &Rc::default());
        gathered.drive();
        assert!(frame(&gathered, &[1; 100]));
        assert!(frame(&gathered, &[2; RECORD]));
        assert_eq!(writes(&gathered), [100 + RECORD]);
        let written = gathered.stream.borrow().writes[0].clone();
        assert_eq!((written[99], written[100]), (1, 2));
        assert!(frame(&gathered, &[3; RECORD + 9]));
        assert_eq!(writes(&gathered), [100 + RECORD, RECORD + 9]);
        assert!(gathered.spare.0.borrow().capacity() > 0, "it is kept");
    }

    #[test]
    fn a_client_that_takes_nothing_is_not_gathered_for_without_end() {
        let gathered = Gathered::new(Noted::default(), &Rc::default());
        gathered.drive();
        gathered.stream.borrow_mut().takes = Some(0);
        let frames = (0..1000).take_while(|_| frame(&gathered, &[3; 1024]));
        assert_eq!(frames.count(), RECORD / 1024);
        assert!(!send(&gathered));
        // A byte at a time nothing is lost, and nothing comes twice.
        gathered.stream.borrow_mut().takes = Some(1);
        assert!(send(&gathered));
        assert_eq!(writes(&gathered), [1; RECORD]);
    }
}
