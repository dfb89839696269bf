//! Who a connection is from: its peer, or whom a trusted load balancer names in a PROXY header; and whether that client may
//! come at all.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout_at;

use crate::failure::Reason;
use crate::listener::Accepted;
use crate::records::{self, Handshake};
use crate::worker::Worker;

/// Settles who the client is. None when it may not come, or its load balancer said something else than it should.
pub(crate) async fn settle(mut accepted: Accepted, worker: &Worker) -> Option<Accepted> {
    if accepted.is_own {
        return Some(accepted);
    }
    let config = &worker.config;
    if config.proxy_protocol && config.trusted_proxies.contain(accepted.client.ip()) {
        let deadline = accepted.at + config.limits.handshake_timeout;
        let reading = timeout_at(deadline.into(), Box::pin(read(&mut accepted.stream)));
        let named = tokio::select! {
            named = reading => named.unwrap_or(Err("it did not come within --handshake-timeout")),
            () = worker.given_up() => Err("the sidecar is ending and accepts no more"),
        };
        match named {
            Ok(Some(client)) => accepted.client = client,
            // Perhaps the load balancer itself, which looks whether we live; perhaps a client that it does not name.
            Ok(None) => accepted.is_unnamed = true,
            Err(why) => {
                refused(&accepted, worker, why);
                return None;
            }
        }
    }
    let allowed = &config.allow_clients;
    if !allowed.is_empty() && !allowed.contain(accepted.client.ip()) {
        worker.site.meter.not_allowed();
        return None;
    }
    is_seated(&mut accepted, worker).then_some(accepted)
}

/// Whether the client may have one more connection. Behind a load balancer that does not say whose they are, they are
/// everybody's.
fn is_seated(accepted: &mut Accepted, worker: &Worker) -> bool {
    let (crowd, client) = (&worker.crowd, accepted.client.ip());
    if !crowd.is_limited() || worker.config.trusted_proxies.contain(client) {
        return true;
    }
    match crowd.enter(client) {
        Some(seat) => {
            accepted.slot.of(seat);
            true
        }
        None => {
            worker.site.meter.crowded();
            false
        }
    }
}

fn refused(accepted: &Accepted, worker: &Worker, why: &str) {
    let detail = format!(
        "--proxy-protocol expects a PROXY header from {}, which is a --trusted-proxy: {why}",
        accepted.client.ip()
    );
    let failed = Handshake {
        client: accepted.client,
        accepted: accepted.at,
        reason: Reason::BadProxyHeader,
        detail: &detail,
        sni: None,
        alpn: None,
        generation: worker.certificates.current().number,
    };
    records::handshake(&worker.site, &failed);
}

/// Reads the header and not a byte more; none for a connection of the load balancer's own
/// (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2).
pub(crate) async fn read<R: AsyncRead + Unpin>(
    stream: &mut R,
) -> Result<Option<SocketAddr>, &'static str> {
    let mut bytes = vec![0; SHORTEST];
    let more = stream.read_exact(&mut bytes).await;
    more.map_err(|_| "the connection ended before it")?;
    if bytes.starts_with(V2) {
        bytes.resize(V2_HEAD, 0);
        fill(stream, &mut bytes, SHORTEST).await?;
        let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        if length > LONGEST_V2 {
            return Err("it is longer than any that makes sense");
        }
        bytes.resize(V2_HEAD + length, 0);
        fill(stream, &mut bytes, V2_HEAD).await?;
        if bytes[V2.len()] == V2_LOCAL {
            // What else it says is to be ignored.
            return Ok(None);
        }
    } else {
        while !bytes.ends_with(b"\r\n") {
            if !bytes.starts_with(b"PROXY ") || bytes.len() == LONGEST_V1 {
                return Err("this is none");
            }
            bytes.push(0);
            let at = bytes.len() - 1;
            fill(stream, &mut bytes, at).await?;
        }
    }
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    match ProxyHeader::parse(&bytes, config) {
        Ok((header, length)) if length == bytes.len() => {
            let source = header.proxied_address().map(|address| address.source);
            Ok(source.map(|from| SocketAddr::new(from.ip().to_canonical(), from.port())))
        }
        _ => Err("it is malformed"),
    }
}

async fn fill<R>(stream: &mut R, bytes: &mut [u8], from: usize) -> Result<(), &'static str>
where
    R: AsyncRead + Unpin,
{
    let read = stream.read_exact(&mut bytes[from..]).await;
    read.map(drop).map_err(|_| "the connection ended within it")
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD: usize = 16;
/// Version 2, and the load balancer speaks for itself.
const V2_LOCAL: u8 = 0x20;
/// With every extension that load balancers send; the format could go on to 64 KiB.
const LONGEST_V2: usize = 4096;
const LONGEST_V1: usize = 107;
/// The shorter of the two to begin with: the signature of version 2. Version 1 has at least 15 bytes.
const SHORTEST: usize = V2.len();

#[cfg(test)]
mod tests {
    use super::*;

    async fn reads(bytes: &[u8]) -> (Result<Option<SocketAddr>, &'static str>, usize) {
        let mut rest = bytes;
        let read = read(&mut rest).await;
        (read, rest.len())
    }

    fn v2(command: u8, family: u8, address: &[u8]) -> Vec<u8> {
        let length = u16::try_from(address.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, address].concat()
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_nothing_behind_them_is_read() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 1, 0xbb];
        for header in [
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n".to_vec(),
            b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4711 443\r\n".to_vec(),
            v2(0x21, 0x11, &v4),
            // With an extension behind the addresses.
            v2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()),
        ] {
            let sent = [&header[..], b"\x16rest"].concat();
            let client = "203.0.113.9:4711".parse().unwrap();
            assert_eq!(reads(&sent).await, (Ok(Some(client)), 5), "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_load_balancer_may_come_for_itself() {
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            v2(0x20, 0, &[]),
            // Whatever else it says.
            v2(0x20, 0x11, &[]),
            v2(0x20, 0x41, &[1, 2, 3]),
        ] {
            assert_eq!(reads(&header).await.0, Ok(None), "{header:?}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        for header in [
            b"".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00".to_vec(),
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443 \r\n".to_vec(),
            b"PROXY TCP4 203.0.113.999 10.0.0.1 4711 443\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 4711 443\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\n".to_vec(),
            [&b"PROXY UNKNOWN "[..], &[b'x'; 200], b"\r\n"].concat(),
            v2(0x21, 0x11, &[1, 2, 3]),
            v2(0x31, 0x11, &[0; 12]),
            [V2, &[0x21, 0x11, 0xff, 0xff]].concat(),
        ] {
            assert!(reads(&header).await.0.is_err(), "{header:?}");
        }
    }
}
