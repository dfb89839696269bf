//! Ways to end a connection that are not a cut.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

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

pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;
