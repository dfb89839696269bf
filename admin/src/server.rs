//! Serving a router on its own accept loop. axum is only the router here: the loop, the number of connections and the
//! waits are bounded by us, so that a slow or greedy client of the admin port cannot block the others.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Serves `router` on `listener` until the future is dropped.
///
/// When all places are taken the oldest connection gives way: silent clients, however many, cannot lock out a probe.
pub async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() == MAX_CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                open.push_back(tokio::spawn(connection(stream, router.clone())).abort_handle());
            }
            // Out of file descriptors or a connection that went before we came: neither may end the loop.
            Err(_) => sleep(BACK_OFF).await,
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // What goes wrong here concerns this client alone, and it knows already.
    let _ = timeout(CONNECTION_TIMEOUT, served).await;
}

const MAX_CONNECTIONS: usize = 64;
const MAX_HEAD: usize = 64 * 1024;
/// Also the keep-alive limit: hyper knows one timer for both.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
const BACK_OFF: Duration = Duration::from_millis(100);
