//! Ways to end a connection that are not a cut.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::progress::RequestProgress;
use super::request_body::{Received, poll_h2};

/// An orderly end: close_notify, so that the client can tell it from a cut.
pub(super) async fn close<S: AsyncWrite + Unpin>(stream: &mut S) {
    // A client that is gone already needs no goodbye.
    let _ = timeout(CLOSE_TIMEOUT, stream.shutdown()).await;
}

/// Ends an answered connection whose client is still sending. Closing with unread bytes would make the kernel send RST,
/// and that can destroy the answer before the client has read it; so what comes is thrown away for a moment.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    close(stream).await;
    let drained = async {
        let mut room = [0; 4096];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match stream.read(&mut room).await {
                Ok(0) | Err(_) => return,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    };
    let _ = timeout(LINGER_TIMEOUT, drained).await;
}

/// The same for one stream of HTTP/2: the reset that asks a client to stop sending (RFC 9113, section 8.1) may make it throw
/// its answer away. What the application still reads is the application's, for as long as it comes, and goes within `limit`.
pub(super) async fn linger_stream(body: &Received, progress: &RequestProgress, limit: Duration) {
    let let_go = poll_fn(|cx| {
        progress.standing.served_by(cx.waker());
        match progress.take_sentence() {
            Some(_) => Poll::Ready(()),
            None => progress.poll_let_go(cx),
        }
    });
    tokio::select! {
        () = let_go => {}
        () = progress.until_nobody_cares(limit) => {}
    }
    let drained = async {
        let mut left = LINGER_BYTES;
        while left > 0 {
            let frame = poll_fn(|cx| poll_h2(&mut body.borrow_mut(), cx)).await;
            let Some(Ok(frame)) = frame else { return };
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    let is_whole = body.borrow().is_end_stream();
    if !is_whole && !progress.standing.is_given_up() {
        let _ = timeout(LINGER_TIMEOUT, drained).await;
    }
}

pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;
