//! What a trusted proxy says of the client, and who the client is by that.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::{
    X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO, X_REQUEST_ID, checked,
};
use crate::config::Networks;

/// A trusted proxy's fields; what is malformed counts as not said.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// `X-Forwarded-For`, all of it.
    pub(super) chain: Option<Vec<u8>>,
    /// `Forwarded`, all of it.
    pub(super) forwarded: Option<Vec<u8>>,
    pub(super) proto: Option<&'static str>,
    pub(super) host: Option<HeaderValue>,
    pub(super) port: Option<u16>,
    pub(super) request_id: Option<HeaderValue>,
}

impl Inbound {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let one = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none())
        };
        let text = |name: &HeaderName| one(name).and_then(|value| value.to_str().ok());
        let proto = text(&X_FORWARDED_PROTO);
        Self {
            chain: all(headers, &X_FORWARDED_FOR),
            forwarded: all(headers, &FORWARDED),
            proto: ["https", "http"]
                .into_iter()
                .find(|known| proto.is_some_and(|proto| proto.eq_ignore_ascii_case(known))),
            host: one(&X_FORWARDED_HOST).and_then(|host| checked(host.clone()).ok()),
            port: text(&X_FORWARDED_PORT).and_then(|port| port.parse().ok()),
            request_id: one(&X_REQUEST_ID).filter(|id| is_id(id)).cloned(),
        }
    }

    /// The client: the first address from the right that is no trusted proxy's; if all are, the leftmost. What stands left
    /// of something unreadable is nobody's word.
    pub(super) fn client(&self, trusted: &Networks) -> Option<IpAddr> {
        let mut client = None;
        let mut walk = |hops: &mut dyn Iterator<Item = Option<IpAddr>>| {
            for hop in hops {
                let Some(hop) = hop else { return };
                client = Some(hop);
                if !trusted.contain(hop) {
                    return;
                }
            }
        };
        match (&self.chain, &self.forwarded) {
            (Some(chain), _) => walk(&mut hops(chain).map(|hop| hop.and_then(address))),
            (None, Some(forwarded)) => walk(&mut hops(forwarded).map(|hop| hop.and_then(node))),
            (None, None) => {}
        }
        client
    }
}

/// Several fields of one name are one list (RFC 9110, section 5.3).
fn all(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values
        .map(|value| value.as_bytes().trim_ascii())
        .filter(|value| !value.is_empty())
        .collect();
    (!values.is_empty()).then(|| values.join(&b", "[..]))
}

/// From the right. What is no text is no hop that could be read.
fn hops(list: &[u8]) -> impl Iterator<Item = Option<&str>> {
    let hops = list.rsplit(|byte| *byte == b',');
    hops.map(|hop| std::str::from_utf8(hop).ok())
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let ip = bare
        .parse()
        .or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    ip.ok().map(|ip: IpAddr| ip.to_canonical())
}

/// The `for` of one element of `Forwarded` (RFC 7239, section 4).
fn node(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case("for"))?;
    address(node.trim().trim_matches('"'))
}

fn is_id(value: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&value.len()) && value.as_bytes().iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(fields: &[(&'static str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap());
        let trusted = Networks(trusted.to_vec());
        let client = Inbound::read(&headers).client(&trusted);
        client.map(|ip| ip.to_string())
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_not_trusted() {
        for (chain, wanted) in [
            ("203.0.113.9", "203.0.113.9"),
            ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
            ("6.6.6.6, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
            ("203.0.113.9:4711,10.0.0.7", "203.0.113.9"),
            ("[2001:db8::1]:443, fd00::7", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("10.0.0.8, 10.0.0.7", "10.0.0.8"),
            // Left of what cannot be read nothing counts.
            ("203.0.113.9, unknown, 10.0.0.7", "10.0.0.7"),
            ("\u{e9}, 203.0.113.9", "203.0.113.9"),
        ] {
            let found = client(&[("x-forwarded-for", chain)]);
            assert_eq!(found.as_deref(), Some(wanted), "{chain}");
        }
        assert_eq!(client(&[("x-forwarded-for", "unknown")]), None);
        assert_eq!(client(&[]), None);
    }

    #[test]
    fn nothing_in_one_field_makes_another_one_count() {
        let fields = [("x-forwarded-for", "\u{e9}"), ("forwarded", "for=6.6.6.6")];
        assert_eq!(client(&fields), None);
    }

    #[test]
    fn several_fields_are_one_chain() {
        let fields = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "203.0.113.9, 10.0.0.7"),
        ];
        assert_eq!(client(&fields).as_deref(), Some("203.0.113.9"));
    }

    #[test]
    fn forwarded_counts_where_there_is_nothing_else() {
        let forwarded = "for=6.6.6.6, For=\"[2001:db8::9]:80\";proto=http, for=10.0.0.7";
        assert_eq!(
            client(&[("forwarded", forwarded)]).as_deref(),
            Some("2001:db8::9")
        );
    }
}
