//! HTTP/1 to the application: hyper's client, its connection driven by a task of this worker.

use std::future::poll_fn;
use std::time::Instant;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::patience::End;
use super::stream::Stream;
use crate::http::RequestBody;
use crate::rewound::Rewound;

/// What is left of a connection when HTTP has ended on it by a 101.
pub(crate) type Upgraded = oneshot::Receiver<Rewound<Stream>>;

/// Begins HTTP/1, and is ready for a request. With `keeps_case`, names are written as the client wrote them (`Title-Case`
/// where no client did), and those of responses are remembered.
pub(super) async fn begin(
    stream: Stream,
    keeps_case: bool,
    end: End,
) -> hyper::Result<(SendRequest<RequestBody>, Upgraded)> {
    let built = Builder::new()
        .max_buf_size(BUFFER)
        .preserve_header_case(keeps_case)
        .title_case_headers(keeps_case)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = built?;
    let (give, upgraded) = oneshot::channel();
    spawn_local(async move {
        // The exchange that uses the connection is told of its end; an idle one just goes. What is left of it is only
        // waited for by a request that asked for another protocol.
        let ended = connection.without_shutdown().await;
        end.set(Some(Instant::now()));
        if let Ok(parts) = ended {
            let stream = parts.io.into_inner().impatient();
            let _ = give.send(Rewound::new(parts.read_buf, stream));
        }
    });
    poll_fn(|cx| sender.poll_ready(cx)).await?;
    Ok((sender, upgraded))
}

/// Bytes of a response read ahead for a client that is slower than the application; also the most its head may have.
const BUFFER: usize = 32 * 1024;
