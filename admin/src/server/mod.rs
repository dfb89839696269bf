//! Serving a router on its own accept loop. axum is only the router here: the loop, the number of connections and the
//! waits are bounded by us, so that a slow or greedy client of the admin port cannot block the others.

mod door;
mod peer;
mod slot;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use self::door::Arrived;
use self::slot::Places;
use crate::allowance::Allowance;

pub use door::{Door, Io, Secure, Secured};
pub(crate) use peer::ClientKey;
pub use peer::Peer;
pub(crate) use slot::{Following, Held, Slot, Working};

/// Serves `router` at `door` until the future is dropped.
///
/// When all places are taken the oldest connection gives way that has no work done for it, else the oldest: silent clients,
/// however many, cannot lock out a probe. A follower of the records does not, and there are places that followers cannot take.
///
/// What comes is taken at once: a listener that paces itself lets a flood fill the kernel's queue, and a probe wait behind it.
/// A client of the network with too many new connections loses those. The loopback is everybody's in the pod, and who is there
/// does not need a port to take the CPU's time.
pub async fn serve(door: Door, router: Router) -> Infallible {
    let mut open: VecDeque<(AbortHandle, Slot)> = VecDeque::new();
    let places = Places::new(MAX_FOLLOWERS);
    let arrivals = Allowance::new(BURST, RATE);
    loop {
        match door.accept().await {
            Ok(arrived)
                if arrived
                    .network()
                    .is_some_and(|client| !arrivals.take(&client)) => {}
            Ok(arrived) => {
                open.retain(|(connection, _)| !connection.is_finished());
                if open.len() >= MAX_CONNECTIONS {
                    make_room(&mut open);
                }
                let slot = Slot::new(&places);
                let served = connection(arrived, router.clone(), slot.clone());
                open.push_back((tokio::spawn(served).abort_handle(), slot));
            }
            // Out of file descriptors or a connection that went before we came: neither may end the loop.
            Err(_) => sleep(BACK_OFF).await,
        }
    }
}

fn make_room(open: &mut VecDeque<(AbortHandle, Slot)>) {
    let stays = |slot: &Slot| slot.follows();
    let idle = open
        .iter()
        .position(|(_, slot)| !stays(slot) && !slot.works());
    let oldest = idle.or_else(|| open.iter().position(|(_, slot)| !stays(slot)));
    if let Some((connection, _)) = oldest.and_then(|oldest| open.remove(oldest)) {
        connection.abort();
    }
}

async fn connection(arrived: Arrived, router: Router, slot: Slot) {
    // A handshake that fails concerns this client alone, and it knows already.
    let Ok(Ok((io, peer))) = timeout(HEAD_TIMEOUT, arrived.enter()).await else {
        return;
    };
    let routes = TowerToHyperService::new(router);
    let own_slot = slot.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(own_slot.clone());
        request.extensions_mut().insert(peer.clone());
        routes.call(request)
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(io), service)
    );
    // What goes wrong here concerns this client alone, too. A follower may stay.
    while timeout(CONNECTION_TIMEOUT, &mut served).await.is_err() && slot.follows() {}
}

const MAX_CONNECTIONS: usize = 64;
/// The rest is left to probes and to whoever looks into what is wrong.
const MAX_FOLLOWERS: usize = 60;
const MAX_HEAD: usize = 64 * 1024;
/// For a TLS handshake. Also the keep-alive limit: hyper knows one timer for both.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
const BACK_OFF: Duration = Duration::from_millis(100);
/// New connections of one client of the network at once, and so many a second.
const BURST: u32 = 200;
const RATE: u32 = 100;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;
    use std::sync::Arc;

    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpSocket, TcpStream};

    use super::*;
    use crate::fakes::{History, access, handles, id};

    /// A client with as little room for what it does not read as there can be.
    struct Client(BufReader<TcpStream>);

    impl Client {
        async fn connect(address: SocketAddr) -> Self {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            Self(BufReader::new(socket.connect(address).await.unwrap()))
        }

        /// HTTP/1.0, so that the body is not chunked.
        async fn get(address: SocketAddr, path: &str) -> Self {
            let mut client = Self::connect(address).await;
            let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
            client.0.write_all(request.as_bytes()).await.unwrap();
            client
        }

        async fn follow(address: SocketAddr) -> Self {
            let mut client = Self::get(address, "/logs?follow=true").await;
            assert_eq!(client.line().await, "HTTP/1.0 200 OK");
            while !client.line().await.is_empty() {}
            client
        }

        async fn line(&mut self) -> String {
            let mut line = String::new();
            let read = timeout(Duration::from_secs(20), self.0.read_line(&mut line));
            assert!(read.await.unwrap().unwrap() > 0, "the stream has ended");
            line.trim_end().to_owned()
        }

        async fn rest(mut self) -> String {
            let mut rest = String::new();
            let read = timeout(Duration::from_secs(20), self.0.read_to_string(&mut rest));
            read.await.unwrap().unwrap();
            rest
        }
    }

    fn start(records: &Arc<History>) -> SocketAddr {
        let socket = TcpSocket::new_v4().unwrap();
        // What it accepts inherits this: little is lost from sight in the kernel.
        socket.set_send_buffer_size(4096).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(128).unwrap();
        let address = listener.local_addr().unwrap();
        let records: Arc<dyn crate::Records> = Arc::<History>::clone(records);
        let door = Door::Tcp(listener, None);
        tokio::spawn(serve(door, crate::admin(handles(records), access())));
        address
    }

    async fn lives(address: SocketAddr) -> bool {
        let answer = Client::get(address, "/livez").await.rest().await;
        answer.starts_with("HTTP/1.0 200 OK")
    }

    #[tokio::test]
    async fn fifty_followers_of_which_ten_never_read_hinder_neither_each_other_nor_a_probe() {
        let records = History::of(100);
        let address = start(&records);
        let mut readers = Vec::new();
        for _ in 0..40 {
            readers.push(Client::follow(address).await);
        }
        let mut silent = Vec::new();
        for _ in 0..10 {
            silent.push(Client::follow(address).await);
        }
        for from in (0..2000).step_by(100) {
            records.push_exchanges(from..from + 100);
            for reader in &mut readers {
                for number in from..from + 100 {
                    assert!(reader.line().await.contains(&id(number)));
                }
            }
            assert!(lives(address).await);
        }
        // Each of the others finds all of it accounted for.
        for mut reader in silent {
            let (mut seen, mut missed) = (BTreeSet::new(), 0);
            while !seen.contains(&1999) {
                let line: serde_json::Value = serde_json::from_str(&reader.line().await).unwrap();
                match line["id"].as_str() {
                    Some(id) => assert!(seen.insert(id[24..].parse::<u64>().unwrap())),
                    None => missed += line["missed"].as_u64().unwrap(),
                }
            }
            assert!(missed > 0);
            assert_eq!(seen.len() as u64 + missed, 2000);
        }
    }

    #[tokio::test]
    async fn followers_take_no_place_of_others_and_others_take_none_of_theirs() {
        let records = History::of(100);
        let address = start(&records);
        let mut followers = Vec::new();
        for _ in 0..MAX_FOLLOWERS {
            followers.push(Client::follow(address).await);
        }
        let refused = Client::get(address, "/logs?follow=true").await.rest().await;
        assert!(refused.starts_with("HTTP/1.0 503"), "{refused}");
        assert!(refused.contains("\"reason\":\"too_many_followers\""));
        // Far more silent connections than there are places.
        let mut silent = Vec::new();
        for _ in 0..2 * MAX_CONNECTIONS {
            silent.push(Client::connect(address).await);
        }
        assert!(lives(address).await);
        records.push_exchanges(7..8);
        for follower in &mut followers {
            assert!(follower.line().await.contains(&id(7)));
        }
        // Whoever goes gives the place back, also with a stream that was stuck.
        for from in (100..1000).step_by(100) {
            records.push_exchanges(from..from + 100);
            sleep(Duration::from_millis(120)).await;
        }
        drop(followers.pop());
        let mut next = timeout(Duration::from_secs(20), async {
            loop {
                let mut client = Client::get(address, "/logs?follow=true&limit=1").await;
                if client.line().await == "HTTP/1.0 200 OK" {
                    return client;
                }
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
        while !next.line().await.is_empty() {}
        assert!(next.line().await.contains(&id(999)));
    }

    #[tokio::test]
    async fn a_follower_outlives_the_time_of_a_connection() {
        let records = History::of(100);
        let address = start(&records);
        let mut follower = Client::follow(address).await;
        for number in 0..3 {
            tokio::time::pause();
            tokio::time::advance(CONNECTION_TIMEOUT + HEAD_TIMEOUT).await;
            tokio::time::resume();
            records.push_exchanges(number..number + 1);
            while !follower.line().await.contains(&id(number)) {}
        }
    }

    #[tokio::test]
    async fn a_connection_follows_no_longer_than_its_stream_lasts() {
        let places = Places::new(1);
        let (slot, other) = (Slot::new(&places), Slot::new(&places));
        let following = slot.follow();
        assert!(following.is_some() && slot.follows());
        assert!(other.follow().is_none() && !other.follows());
        drop(following);
        assert!(!slot.follows() && other.follow().is_some());

        // A HEAD has no stream, and its connection goes on.
        let address = start(&History::of(100));
        let mut client = Client::connect(address).await;
        let request = "HEAD /logs?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for _ in 0..2 * MAX_FOLLOWERS {
            client.0.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(client.line().await, "HTTP/1.1 200 OK");
            while !client.line().await.is_empty() {}
        }
    }

    #[tokio::test]
    async fn long_answers_that_wait_for_their_clients_have_an_end_and_short_ones_pass() {
        let places = Places::new(1);
        let slot = Slot::new(&places);
        let mib = 1 << 20;
        let mut held: Vec<_> = (0..64).map(|_| slot.hold(mib)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(slot.hold(mib).is_none());
        assert!(slot.hold(mib / 8).is_some());
        held.pop();
        assert!(slot.hold(mib).is_some());
        held.clear();
        let long = slot.hold(1000 * mib);
        assert!(long.is_some() && slot.hold(1000 * mib).is_some());
    }
}
