//! What they may touch of the way of a head: reading it, and what is changed in its fields.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};
use http_body_util::Empty;

use crate::config::Networks;
use crate::headers::{self, OwnWords, Phrases};
use crate::http::{HeadLimits, Scan, parse};

/// A client, by what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// curl: three fields.
    Curl,
    /// A browser that has been here before: twelve fields.
    Browser,
    /// The same over HTTP/2: the host is no field there, and the cookie comes in crumbs.
    BrowserH2,
}

/// A request without a body.
pub type Bodiless = Request<Empty<Bytes>>;

impl Client {
    /// Its head, as HTTP/1.1 has it.
    #[must_use]
    pub fn head(self) -> &'static [u8] {
        match self {
            Self::Curl => CURL.as_bytes(),
            Self::Browser | Self::BrowserH2 => BROWSER.as_bytes(),
        }
    }

    /// The request that comes of it.
    ///
    /// # Panics
    /// Where the heads below are no heads.
    #[must_use]
    pub fn request(self) -> Bodiless {
        let mut lines = std::str::from_utf8(self.head()).expect("text").lines();
        let target = lines.next().and_then(|line| line.split(' ').nth(1));
        let target = target.expect("a request line");
        let mut request = Request::new(Empty::new());
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").expect("a field");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            let value = HeaderValue::from_str(value).expect("a value");
            request.headers_mut().append(name, value);
        }
        let uri = if self == Self::BrowserH2 {
            *request.version_mut() = Version::HTTP_2;
            let host = request.headers_mut().remove(HOST);
            let cookie = request.headers_mut().remove(COOKIE).expect("a cookie");
            for crumb in cookie.to_str().expect("text").split("; ") {
                let crumb = HeaderValue::from_str(crumb).expect("a value");
                request.headers_mut().append(COOKIE, crumb);
            }
            let host = host.expect("a host");
            format!("https://{}{target}", host.to_str().expect("text"))
        } else {
            target.to_owned()
        };
        *request.uri_mut() = uri.parse().expect("a target");
        request
    }
}

/// Looks for the end of a head and reads it strictly; how many fields it has.
#[must_use]
pub fn read(head: &[u8]) -> Option<usize> {
    let end = Scan::default().end(head, LIMITS).ok()??;
    let head = parse(&Bytes::copy_from_slice(&head[..end]), LIMITS).ok()?;
    Some(head.request.headers().len())
}

/// Makes a client's request one for the application.
///
/// # Panics
/// Where it is refused.
#[must_use]
pub fn to_upstream(mut request: Bodiless) -> Bodiless {
    let nobody = Networks::default();
    PHRASES.with(|phrases| {
        let own = OwnWords {
            peer: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
            trusted: Some(&nobody),
            request_id: "01938f6e-5d7a-7c30-9a41-3b1f0c5d2e6f",
            proto: "https",
            public_port: 443,
            client_certificate: None,
            default_host: "application.example",
            phrases,
        };
        headers::to_upstream(&mut request, &own).expect("it is a usual request");
    });
    request
}

thread_local! {
    /// As each worker has them.
    static PHRASES: Phrases = Phrases::default();
}

/// The fields of the application's response.
#[must_use]
pub fn response() -> HeaderMap {
    let fields = RESPONSE.iter();
    let of = |(name, value): &(&'static str, &'static str)| {
        let value = HeaderValue::from_static(value);
        (HeaderName::from_static(name), value)
    };
    fields.map(of).collect()
}

/// Makes the application's response one for the client.
#[must_use]
pub fn to_downstream(mut fields: HeaderMap) -> HeaderMap {
    headers::to_downstream(StatusCode::OK, &mut fields);
    fields
}

/// The defaults.
const LIMITS: HeadLimits = HeadLimits {
    head: 64 << 10,
    uri: 16 << 10,
    fields: 100,
};

const CURL: &str = "GET /api/items?page=2 HTTP/1.1\r\nHost: shop.example:8443\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";
const BROWSER: &str = "GET /api/items?page=2 HTTP/1.1\r\n\
    Host: shop.example:8443\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example:8443/api/items?page=1\r\n\
    Cookie: session=6f1d2c3b4a59687766554433221100ff; theme=dark; consent=yes\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Cache-Control: max-age=0\r\n\
    Connection: keep-alive\r\n\r\n";
const RESPONSE: [(&str, &str); 8] = [
    ("x-powered-by", "Express"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-length", "1024"),
    ("etag", "W/\"400-6M9vDrTqkFzqPzKQ1k1S0w\""),
    ("date", "Sat, 28 Nov 2026 14:22:40 GMT"),
    ("set-cookie", "theme=dark; Path=/; HttpOnly"),
    ("connection", "keep-alive"),
    ("keep-alive", "timeout=5"),
];
