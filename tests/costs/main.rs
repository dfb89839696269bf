//! What an exchange and an idle connection cost, as numbers that do not depend on the machine: heap allocations of the whole
//! process, and bytes that it keeps. The sidecar is this very program, started once more under an allocator that counts; clients
//! and the application are in the test, which nobody counts.
//!
//! A number here that has become too high is an allocation somebody has added to each exchange. One that has become too low may
//! be set to what was seen.

// A test that cannot go on says so by panicking, in helpers as in the tests themselves.
#![expect(clippy::unwrap_used)]

mod app;
mod counted;
#[path = "../support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the other tests use the rest of it"
)]
mod support;

use std::alloc::System;
use std::sync::atomic::Ordering;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use app::App;
use counted::Counted;
use support::{Client, eventually, h2_get, read_answer};

/// What asks it for memory is the same with any other; what C code takes is not seen.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
#[ignore = "it is the sidecar, which the other tests start"]
fn sidecar() {
    counted::serve();
}

#[tokio::test]
async fn a_get_over_http1_takes_no_more_allocations_than_it_did() {
    let get = "GET /items HTTP/1.1\r\nHost: localhost\r\nUser-Agent: costs\r\nAccept: */*\r\n\r\n";
    let taken = over_http1(get).await;
    assert!(taken <= GET_OVER_HTTP1 + LOG, "{taken}");
}

#[tokio::test]
async fn a_post_over_http1_takes_no_more_allocations_than_it_did() {
    let post = format!(
        "POST /items HTTP/1.1\r\nHost: localhost\r\nUser-Agent: costs\r\nAccept: */*\r\nContent-Length: {}\r\n\r\n{}",
        app::BODY,
        "x".repeat(app::BODY)
    );
    let taken = over_http1(&post).await;
    assert!(taken <= POST_OVER_HTTP1 + LOG, "{taken}");
}

#[tokio::test]
async fn a_get_over_http2_takes_no_more_allocations_than_it_did() {
    let mut counted = Counted::start(&App::new()).await;
    let h2 = Client::new(&counted.sidecar, &["h2"]).h2().await;
    let taken = counted
        .each(async || {
            let (status, _, body) = h2.exchange(h2_get("/items"), None).await.unwrap();
            assert_eq!((status.as_u16(), body.len()), (200, app::BODY));
        })
        .await;
    assert!(taken <= GET_OVER_HTTP2 + LOG, "{taken}");
}

#[tokio::test]
async fn an_idle_connection_keeps_no_more_bytes_than_it_did() {
    let mut counted = Counted::start(&App::new()).await;
    let client = Client::h1(&counted.sidecar);
    let mut idle = Vec::new();
    for _ in 0..WARM {
        idle.push(has_asked_once(&client).await);
    }
    let before = counted.bytes();
    for _ in 0..IDLE {
        idle.push(has_asked_once(&client).await);
    }
    // What the last exchange had goes a moment after its answer.
    eventually("an idle connection that is small", async || {
        let each = (counted.bytes() - before) / IDLE;
        (each <= IDLE_CONNECTION).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_unused_connection_to_the_application_keeps_next_to_nothing() {
    let mut counted = Counted::start(&App::new()).await;
    let client = Client::h1(&counted.sidecar);
    drop(has_asked_once(&client).await);
    // Of the first round the workers keep what the second needs again.
    let mut before = 0;
    for _ in 0..2 {
        before = counted.bytes();
        let mut asking = JoinSet::new();
        for _ in 0..app::TOGETHER {
            let client = client.clone();
            asking.spawn(async move { client.get("/together").await.status });
        }
        while let Some(status) = asking.join_next().await {
            assert_eq!(status.unwrap(), 200);
        }
    }
    let open = app::TOGETHER;
    eventually("connections that are kept", async || {
        let kept = counted
            .sidecar
            .metric(r#"portcullis_upstream_connections{state="idle"}"#);
        (kept.await as usize >= open).then_some(())
    })
    .await;
    eventually("connections that keep little", async || {
        let each = counted.bytes().saturating_sub(before) / open;
        (each <= KEPT_CONNECTION).then_some(())
    })
    .await;
}

#[tokio::test]
async fn clients_that_do_not_read_keep_no_more_than_is_counted_for_them() {
    let mut counted = Counted::start(&App::new()).await;
    let client = Client::h1(&counted.sidecar);
    drop(has_asked_once(&client).await);
    let before = counted.bytes();
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        let mut stream = client.connect().await.unwrap();
        let get = b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(get).await.unwrap();
        unread.push(stream);
    }
    eventually("an application that gets rid of nothing more", async || {
        (app::STUCK.load(Ordering::Relaxed) == UNREAD).then_some(())
    })
    .await;
    let each = (counted.bytes() - before) / UNREAD;
    assert!(each <= UNREAD_RESPONSE, "{each}");
}

async fn has_asked_once(client: &Client) -> impl Sized {
    let mut stream = client.connect().await.unwrap();
    let get = b"GET /items HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(get).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.unwrap().status, 200);
    stream
}

async fn over_http1(request: &str) -> usize {
    let mut counted = Counted::start(&App::new()).await;
    let mut stream = Client::h1(&counted.sidecar).connect().await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let first = read_answer(&mut stream).await.unwrap();
    assert_eq!((first.status, first.body.len()), (200, app::BODY));
    // All others are as long.
    let mut answer = vec![0; first.head.len() + app::BODY];
    counted
        .each(async || {
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.read_exact(&mut answer).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200 "));
        })
        .await
}

/// With three fields and the answer's two.
const GET_OVER_HTTP1: usize = 31;
/// No copy is kept of it, for a second try.
const POST_OVER_HTTP1: usize = 33;
/// With no fields of its own.
const GET_OVER_HTTP2: usize = 28;
/// Bytes of a connection that waits for its next request. What AES-GCM keeps of its keys is C's, and not among them.
const IDLE_CONNECTION: usize = 4200;
/// Bytes of a connection to the application that nobody uses.
const KEPT_CONNECTION: usize = 1024;
/// Bytes of a response whose client does not read, where an eighth of them may be read in large pieces: less than the 256 KiB
/// that are counted for it (`src/machine/capacity.rs`).
const UNREAD_RESPONSE: usize = 256 * 1024;
const UNREAD: usize = 64;
const WARM: usize = 20;
const IDLE: usize = 100;
/// The log thread takes one for each of its rounds: in two of them lie five milliseconds, and so some exchanges, unless the
/// machine is very slow.
const LOG: usize = 1;
