//! No client speaks in our name: whatever fields it sends, those we set say what we know, nothing reaches the application
//! that looks like one of them, and all other fields do.
//!
//! Input: a byte whose lowest bits choose the request line and whether a Host is there already, and lines of fields.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::fuzzing::{CLIENT, DEFAULT_HOST, REQUEST_ID, forwarded};

fuzz_target!(|data: &[u8]| {
    let Some((choice, text)) = data.split_first() else {
        return;
    };
    let lines = text.split(|byte| *byte == b'\n');
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    let mut head = REQUEST_LINES[usize::from(choice & 3)].as_bytes().to_vec();
    if choice & 4 != 0 {
        head.extend_from_slice(b"Host: a.example\r\n");
    }
    for line in &lines {
        head.extend_from_slice(line);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let Some(fields) = forwarded(&head) else {
        return;
    };
    let sent: Vec<Field> = lines.into_iter().map(parse).collect();
    let named = named(&sent);
    for field in &fields {
        judge(field, &named);
    }
    judge_own(&fields);
    for (name, _) in &sent {
        if is_ordinary(name, &named) {
            assert_eq!(all(&fields, name), all(&sent, name), "{name} is changed");
        }
    }
});

type Field = (String, Vec<u8>);

/// A line of a head that was accepted.
fn parse(line: &[u8]) -> Field {
    let colon = line.iter().position(|byte| *byte == b':').unwrap();
    let name = std::str::from_utf8(&line[..colon]).unwrap();
    let value = line[colon + 1..].trim_ascii();
    (name.to_ascii_lowercase(), value.to_vec())
}

/// What the client's `Connection` names.
fn named(sent: &[Field]) -> Vec<String> {
    let values = all(sent, "connection").into_iter();
    let names = values.flat_map(|value| value.split(|byte| *byte == b','));
    names
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .collect()
}

/// Holds a field that goes to the application to what every one of them must be.
fn judge((name, value): &Field, named: &[String]) {
    let is_line = !value.iter().any(|byte| b"\r\n\0".contains(byte));
    assert!(is_line, "{name} is more than a line");
    let folded = folded(name);
    let (is_own, is_te) = (OWN.contains(&&**name), name == "te" && value == b"trailers");
    assert!(is_own || !is_claim(&folded), "{name} speaks in our name");
    assert!(
        !is_disguised(&folded, name),
        "{name} frames the message for somebody"
    );
    assert!(
        is_te || !HOP_BY_HOP.contains(&&**name),
        "{name} is passed on"
    );
    let is_kept = is_own || is_te || PROTECTED.contains(&&**name);
    assert!(
        is_kept || !named.contains(name),
        "{name} is named by Connection"
    );
}

/// Holds what we say to what is true.
fn judge_own(fields: &[Field]) {
    let host = String::from_utf8(one(fields, "host").to_vec()).unwrap();
    assert_eq!(one(fields, "x-forwarded-for"), CLIENT.as_bytes());
    assert_eq!(one(fields, "x-real-ip"), CLIENT.as_bytes());
    assert_eq!(one(fields, "x-forwarded-proto"), b"https");
    assert_eq!(one(fields, "x-request-id"), REQUEST_ID.as_bytes());
    let port = String::from_utf8(one(fields, "x-forwarded-port").to_vec()).unwrap();
    assert!(port.parse::<u16>().is_ok(), "{port}");
    let forwarded = if all(fields, "x-forwarded-host").is_empty() {
        assert_eq!(host, DEFAULT_HOST);
        format!("for={CLIENT};proto=https")
    } else {
        assert_eq!(one(fields, "x-forwarded-host"), host.as_bytes());
        format!("for={CLIENT};host=\"{host}\";proto=https")
    };
    assert_eq!(one(fields, "forwarded"), forwarded.as_bytes());
}

fn all<'a>(fields: &'a [Field], name: &str) -> Vec<&'a [u8]> {
    let found = fields.iter().filter(|(other, _)| other == name);
    found.map(|(_, value)| &value[..]).collect()
}

fn one<'a>(fields: &'a [Field], name: &str) -> &'a [u8] {
    match all(fields, name)[..] {
        [value] => value,
        ref values => panic!("{name} is there {} times", values.len()),
    }
}

/// Whether a client's field is nobody's business but the application's. Cookies are joined.
fn is_ordinary(name: &str, named: &[String]) -> bool {
    let folded = folded(name);
    let is_disguised = is_disguised(&folded, name);
    let is_named = named.iter().any(|named| named == name) && !PROTECTED.contains(&name);
    let is_ours = ["connection", "cookie", "host"].contains(&name);
    let is_removed = is_claim(&folded) || is_disguised || is_named || HOP_BY_HOP.contains(&name);
    !is_ours && !is_removed
}

/// Whether a name is one of what is between two neighbours, or of what may tell of a trace, in another spelling.
fn is_disguised(folded: &str, name: &str) -> bool {
    let is_told = FRAMING.contains(&folded) || HOP_BY_HOP.contains(&folded) || B3.contains(&folded);
    folded != name && is_told
}

/// A name as CGI, PHP and lighttpd see it between them: what is no letter and no digit is all one.
fn folded(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// Whether a folded name is one that we speak under, or that applications read a client's identity from.
fn is_claim(folded: &str) -> bool {
    let begins = |known: &&str| {
        let rest = folded.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    folded.starts_with("x-forwarded-")
        || CLAIMS.contains(&folded)
        || CLIENT_IDENTITY.iter().any(begins)
}

const REQUEST_LINES: [&str; 4] = [
    "GET / HTTP/1.1\r\n",
    "POST http://b.example:8443/x?y HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n",
];

const B3: [&str; 5] = [
    "x-b3-flags",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-spanid",
    "x-b3-traceid",
];

/// What we set; each of it is held to its value, too.
const OWN: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

const CLAIMS: [&str; 6] = [
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "proxy",
    "x-real-ip",
    "x-request-id",
];

/// These, and what goes on behind them with a `-`.
const CLIENT_IDENTITY: [&str; 18] = [
    "ssl-cert",
    "ssl-client",
    "x-amzn-mtls",
    "x-arr-clientcert",
    "x-client-cert",
    "x-client-certificate",
    "x-client-dn",
    "x-client-subject",
    "x-client-verify",
    "x-clientcert",
    "x-ssl-cert",
    "x-ssl-certificate",
    "x-ssl-client",
    "x-ssl-issuer",
    "x-ssl-subject",
    "x-tls-client-cert",
    "x-tls-client-dn",
    "x-tls-client-verify",
];

/// What frames or routes a message, and must not come in another spelling.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "upgrade",
];

/// What stays although `Connection` names it.
const PROTECTED: [&str; 3] = ["content-length", "host", "transfer-encoding"];
