//! Who a connection is from is read from a PROXY header as its specification says
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2), and from nothing behind it.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use portcullis::fuzzing::proxy_header;

fuzz_target!(|data: &[u8]| {
    let (read, consumed) = proxy_header(data);
    assert!(consumed <= longest(data), "{consumed} bytes were read");
    match (read, reference(data)) {
        (Some(client), Some(wanted)) => {
            assert_eq!(client, wanted.client);
            assert_eq!(consumed, wanted.length);
        }
        (Some(client), None) => panic!("{client:?} is read from what is no header"),
        (None, Some(wanted)) => assert!(wanted.may_be_refused, "{wanted:?} is refused"),
        (None, None) => {}
    }
});

#[derive(Debug)]
struct Header {
    /// None where it names nobody.
    client: Option<SocketAddr>,
    length: usize,
    /// Whether we may be stricter than the specification.
    may_be_refused: bool,
}

fn reference(bytes: &[u8]) -> Option<Header> {
    if bytes.starts_with(V2) {
        version_2(bytes)
    } else {
        version_1(bytes)
    }
}

/// Section 2.1: a line, words with one space between them.
fn version_1(bytes: &[u8]) -> Option<Header> {
    let end = bytes.iter().position(|byte| *byte == b'\r')?;
    let length = end + 2;
    if bytes.get(end + 1) != Some(&b'\n') || length > LONGEST_V1 {
        return None;
    }
    let line = bytes[..end].strip_prefix(b"PROXY ")?;
    let header = |client| Header {
        client,
        length,
        may_be_refused: false,
    };
    // What follows is to be ignored, up to the end of the line.
    if line.starts_with(b"UNKNOWN") {
        return Some(header(None));
    }
    let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else {
        return None;
    };
    let address = match family {
        "TCP4" => ipv4,
        "TCP6" => ipv6,
        _ => return None,
    };
    let (source, _) = (address(source)?, address(destination)?);
    let (source_port, _) = (port(source_port)?, port(destination_port)?);
    Some(header(Some(client(source, source_port))))
}

/// Four decimal numbers without zeros in front.
fn ipv4(text: &str) -> Option<IpAddr> {
    let numbers: Option<Vec<u8>> = text
        .split('.')
        .map(|part| {
            part.parse()
                .ok()
                .filter(|number: &u8| number.to_string() == part)
        })
        .collect();
    let octets: [u8; 4] = numbers?.try_into().ok()?;
    Some(IpAddr::from(octets))
}

/// How IPv6 addresses are written is left to the standard library.
fn ipv6(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: Ipv6Addr| address.into())
}

/// More than the specification allows, because `proxy-header` does: a sign, and zeros in front. It is the same port to
/// everybody.
fn port(text: &str) -> Option<u16> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.trim_start_matches('0');
    match number {
        "" => is_number.then_some(0),
        _ if is_number => number.parse().ok(),
        _ => None,
    }
}

/// Section 2.2: signature, version and command, family and transport, length of the rest.
fn version_2(bytes: &[u8]) -> Option<Header> {
    let rest = bytes.strip_prefix(V2)?;
    let (&[command, family, high, low], rest) = rest.split_first_chunk::<4>()?;
    let length = usize::from(high) << 8 | usize::from(low);
    let block = rest.get(..length)?;
    let named = match (command, family) {
        // A connection of the load balancer's own: the block is to be discarded, whatever its family.
        (0x20, _) | (0x21, 0x00) => None,
        // UDP names a client as well as TCP does.
        (0x21, 0x11 | 0x12) => {
            let (source, port) = (block.get(..4)?, block.get(8..12)?);
            let octets: [u8; 4] = source.try_into().ok()?;
            Some(client(Ipv4Addr::from(octets).into(), first_u16(port)))
        }
        (0x21, 0x21 | 0x22) => {
            let (source, port) = (block.get(..16)?, block.get(32..36)?);
            let octets: [u8; 16] = source.try_into().ok()?;
            Some(client(Ipv6Addr::from(octets).into(), first_u16(port)))
        }
        // Unix sockets: two paths, and no client that we could name.
        (0x21, 0x31 | 0x32) => block.get(..216).map(|_| None)?,
        _ => return None,
    };
    Some(Header {
        client: named,
        length: V2_HEAD + length,
        // Ours takes no more than this of extensions, and looks at the block of every command.
        may_be_refused: length > LONGEST_V2 || command == 0x20,
    })
}

fn first_u16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// An IPv4 address in IPv6's clothes is an IPv4 address.
fn client(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

/// How much may be read, whatever comes of it: the header and not a byte more.
fn longest(bytes: &[u8]) -> usize {
    if bytes.starts_with(V2) {
        let length = bytes.get(14..V2_HEAD).map_or(0, first_u16);
        V2_HEAD + usize::from(length)
    } else if bytes.starts_with(b"PROXY ") {
        let ends = |end: &usize| {
            bytes
                .get(..*end)
                .is_some_and(|head| head.ends_with(b"\r\n"))
        };
        (V2.len()..=LONGEST_V1).find(ends).unwrap_or(LONGEST_V1)
    } else {
        V2.len()
    }
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD: usize = 16;
const LONGEST_V1: usize = 107;
const LONGEST_V2: usize = 4096;
