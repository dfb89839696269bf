//! The fields in which the sidecar says, in its own name, whom a request is from and how it came.

use std::cell::RefCell;
use std::net::IpAddr;

use http::header::{FORWARDED, HOST, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::authority::port;
use super::inbound::Inbound;
use super::{
    OwnWords, X_FORWARDED_CLIENT_CERT, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT,
    X_FORWARDED_PROTO, X_REAL_IP, X_REQUEST_ID,
};

/// What was said of the latest requests. Those of one client to one host are told of in the same words, which are kept for as
/// many clients as there are places: to write them anew for each request took a tenth of what it costs outside the kernel.
#[derive(Debug)]
pub(crate) struct Phrases(RefCell<Box<[Option<Phrase>]>>);

/// What is said of the requests of one client to one host.
#[derive(Debug)]
struct Phrase {
    peer: IpAddr,
    proto: &'static str,
    authority: Option<HeaderValue>,
    /// The client's address.
    address: HeaderValue,
    /// One element of `Forwarded` (RFC 7239).
    forwarded: HeaderValue,
    port: HeaderValue,
}

impl Default for Phrases {
    fn default() -> Self {
        Self(RefCell::new((0..PLACES).map(|_| None).collect()))
    }
}

impl Phrases {
    fn with<T>(
        &self,
        own: &OwnWords<'_>,
        authority: Option<&HeaderValue>,
        use_it: impl FnOnce(&Phrase) -> T,
    ) -> T {
        if authority.is_some_and(|authority| authority.len() > LONGEST) {
            return use_it(&Phrase::new(own, authority));
        }
        let mut places = self.0.borrow_mut();
        let place = &mut places[place(own.peer)];
        match place {
            Some(phrase) if phrase.is_for(own, authority) => use_it(phrase),
            other => use_it(other.insert(Phrase::new(own, authority))),
        }
    }
}

impl Phrase {
    fn new(own: &OwnWords<'_>, authority: Option<&HeaderValue>) -> Self {
        let host = authority.and_then(|host| host.to_str().ok());
        let default_port = if own.proto == "https" {
            own.public_port
        } else {
            80
        };
        let (node, proto) = (node(own.peer), own.proto);
        Self {
            peer: own.peer,
            proto,
            // A copy: what hyper has read would be kept with it.
            authority: authority.and_then(|host| HeaderValue::from_bytes(host.as_bytes()).ok()),
            address: visible(own.peer.to_string()),
            forwarded: visible(match host {
                Some(host) => format!("for={node};host=\"{host}\";proto={proto}"),
                None => format!("for={node};proto={proto}"),
            }),
            port: authority.and_then(port).unwrap_or(default_port).into(),
        }
    }

    fn is_for(&self, own: &OwnWords<'_>, authority: Option<&HeaderValue>) -> bool {
        self.peer == own.peer && self.proto == own.proto && self.authority.as_ref() == authority
    }
}

/// Sets them.
pub(super) fn set_own(
    headers: &mut HeaderMap,
    authority: Option<HeaderValue>,
    own: &OwnWords<'_>,
    inbound: &Inbound,
    client: Option<IpAddr>,
) {
    own.phrases.with(own, authority.as_ref(), |phrase| {
        let client = client.map(|client| visible(client.to_string()));
        headers.insert(X_REAL_IP, client.unwrap_or_else(|| phrase.address.clone()));
        let port = inbound.port.map(HeaderValue::from);
        headers.insert(
            X_FORWARDED_PORT,
            port.unwrap_or_else(|| phrase.port.clone()),
        );
        append(
            headers,
            X_FORWARDED_FOR,
            inbound.chain.as_deref(),
            &phrase.address,
        );
        append(
            headers,
            FORWARDED,
            inbound.forwarded.as_deref(),
            &phrase.forwarded,
        );
    });
    let id = inbound.request_id.clone();
    headers.insert(
        X_REQUEST_ID,
        id.unwrap_or_else(|| visible(own.request_id.to_owned())),
    );
    let proto = HeaderValue::from_static(inbound.proto.unwrap_or(own.proto));
    headers.insert(X_FORWARDED_PROTO, proto);
    if let Some(certificate) = own.client_certificate {
        headers.insert(X_FORWARDED_CLIENT_CERT, certificate.clone());
    }
    if let Some(host) = inbound.host.as_ref().or(authority.as_ref()) {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    headers.insert(
        HOST,
        authority.unwrap_or_else(|| visible(own.default_host.to_owned())),
    );
}

/// Sets a list with one more element.
fn append(headers: &mut HeaderMap, name: HeaderName, list: Option<&[u8]>, element: &HeaderValue) {
    let longer = list.map(|list| [list, b", ", element.as_bytes()].concat());
    // Of a valid list and a valid element, it is valid.
    let longer = longer.and_then(|longer| HeaderValue::try_from(longer).ok());
    headers.insert(name, longer.unwrap_or_else(|| element.clone()));
}

/// RFC 7239, section 6: an IPv6 address stands in brackets and quotes.
fn node(client: IpAddr) -> String {
    match client {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("\"[{v6}]\""),
    }
}

/// A value that is known to be visible ASCII, as all of these are.
pub(crate) fn visible(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Where the words for this client's requests stand.
fn place(client: IpAddr) -> usize {
    let mix = |octets: &[u8]| {
        octets
            .iter()
            .fold(0, |mixed, octet| mixed * 31 + usize::from(*octet))
    };
    let mixed = match client {
        IpAddr::V4(v4) => mix(&v4.octets()),
        // All that one client can choose of its address is in the second half.
        IpAddr::V6(v6) => mix(&v6.octets()[..8]),
    };
    mixed % PLACES
}

/// Clients that are remembered by each worker.
const PLACES: usize = 64;
/// Bytes of a host's name that are remembered: no name in the DNS is longer (RFC 1035, section 2.3.4), and a port.
const LONGEST: usize = 261;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(phrases: &Phrases, peer: &str, host: &str) -> Vec<String> {
        let own = OwnWords {
            peer: peer.parse().unwrap(),
            trusted: None,
            request_id: "an-id",
            proto: "https",
            public_port: 443,
            client_certificate: None,
            default_host: "app",
            phrases,
        };
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(host).unwrap();
        set_own(&mut headers, Some(host), &own, &Inbound::default(), None);
        let fields = [
            X_REAL_IP,
            X_FORWARDED_FOR,
            X_FORWARDED_PORT,
            FORWARDED,
            HOST,
        ];
        fields
            .iter()
            .map(|name| headers[name].to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_is_remembered_of_one_client_and_host_is_said_of_no_other() {
        let phrases = Phrases::default();
        let long = "h".repeat(LONGEST + 1);
        // As many clients as share places, in every order, to hosts that differ in the port alone.
        let clients = (0..200).map(|last| format!("10.0.{}.{}", last % 7, last));
        let clients: Vec<_> = clients.chain(["2001:db8::1".to_owned()]).collect();
        for host in [
            "a.example",
            "a.example:8443",
            "b.example",
            &long,
            "a.example",
        ] {
            for client in clients.iter().chain(clients.iter().rev()) {
                let fresh = said(&Phrases::default(), client, host);
                assert_eq!(said(&phrases, client, host), fresh, "{client} {host}");
                assert_eq!(fresh[0], *client);
                assert_eq!(fresh[4], *host);
            }
        }
    }
}
