//! Whatever is not named in the README's table of changes arrives as it was sent: random valid requests and responses,
//! compared byte for byte.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::support::{Client, H2, Sidecar, read_until};

/// Fields by name in lower case, each with its values in order, and each spelling of the name.
type Fields = BTreeMap<String, Vec<(String, Vec<u8>)>>;

#[derive(Clone, Debug)]
struct Message {
    fields: Vec<(String, Vec<u8>)>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    /// With Content-Length.
    Known(Vec<u8>),
    /// Chunked; in HTTP/2 as many frames.
    Pieces(Vec<Vec<u8>>),
    /// Up to the end of the connection; responses of HTTP/1 only.
    ToTheEnd(Vec<u8>),
}

impl Body {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Known(bytes) | Self::ToTheEnd(bytes) => bytes.clone(),
            Self::Pieces(pieces) => pieces.concat(),
        }
    }

    fn framing(&self) -> String {
        match self {
            Self::None | Self::ToTheEnd(_) => String::new(),
            Self::Known(bytes) => format!("Content-Length: {}\r\n", bytes.len()),
            Self::Pieces(_) => "Transfer-Encoding: chunked\r\n".to_owned(),
        }
    }

    fn wire(&self) -> Vec<u8> {
        let Self::Pieces(pieces) = self else {
            return self.bytes();
        };
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
        out
    }
}

impl Message {
    fn wire(&self, first: &str, with_body: bool) -> Vec<u8> {
        let mut out = format!("{first}\r\n").into_bytes();
        for (name, value) in &self.fields {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(self.body.framing().as_bytes());
        out.extend_from_slice(b"\r\n");
        if with_body {
            out.extend_from_slice(&self.body.wire());
        }
        out
    }
}

fn message(is_response: bool) -> impl Strategy<Value = Message> {
    // No name of this kind is anybody's but the two ends'. Bytes above 0x7f are allowed in values, if no longer loved.
    let name = "[Xx]p-[A-Za-z0-9!#$%&'*+.^_|~-]{0,8}";
    let value = vec(prop_oneof![8 => 0x21..=0x7e_u8, 1 => 0x80..=0xff_u8], 0..20);
    let piece = vec(any::<u8>(), 1..3000);
    let body = prop_oneof![
        Just(Body::None),
        vec(any::<u8>(), 0..5000).prop_map(Body::Known),
        vec(piece, 1..5).prop_map(Body::Pieces),
        vec(any::<u8>(), 0..5000).prop_map(move |bytes| if is_response {
            Body::ToTheEnd(bytes)
        } else {
            Body::Known(bytes)
        }),
    ];
    (vec((name, value), 0..6), body).prop_map(|(fields, body)| Message { fields, body })
}

fn request() -> impl Strategy<Value = (String, String, Message)> {
    const METHODS: &[&str] = &[
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "x!Own",
    ];
    let path = "/([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}){0,30}(\\?([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-f]{2}){0,20})?";
    (proptest::sample::select(METHODS), path, message(false))
        .prop_map(|(method, path, message)| (method.to_owned(), path, message))
}

fn response() -> impl Strategy<Value = (u16, Message)> {
    (
        proptest::sample::select(vec![200, 201, 204, 299, 304, 404, 418, 500, 599]),
        message(true),
    )
        .prop_map(|(status, mut message)| {
            if status == 204 || status == 304 {
                message.body = Body::None;
            }
            (status, message)
        })
}

/// What one end has seen.
#[derive(Clone, Debug)]
struct Seen {
    first: String,
    fields: Fields,
    body: Vec<u8>,
}

/// An application that notes each request, and says what it is told to.
struct Application {
    listener: TcpListener,
    seen: Arc<Mutex<Option<Seen>>>,
    says: Arc<Mutex<(Vec<u8>, bool)>>,
}

impl Application {
    async fn run(self) {
        while let Ok((mut stream, _)) = self.listener.accept().await {
            let (seen, says) = (Arc::clone(&self.seen), Arc::clone(&self.says));
            tokio::spawn(async move {
                while let Ok(request) = read_message(&mut stream, false).await {
                    seen.lock().unwrap().replace(request);
                    let (bytes, closes) = says.lock().unwrap().clone();
                    if stream.write_all(&bytes).await.is_err() || closes {
                        return;
                    }
                }
            });
        }
    }
}

async fn read_message<S: AsyncRead + Unpin>(
    stream: &mut S,
    is_bodiless: bool,
) -> std::io::Result<Seen> {
    let head = read_until(stream, b"\r\n\r\n").await?;
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.trim_ascii_end());
    let first = String::from_utf8(lines.next().unwrap_or_default().to_vec()).unwrap();
    let mut fields = Fields::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        let name = String::from_utf8(line[..colon].to_vec()).unwrap();
        let value = line[colon + 1..].trim_ascii_start().to_vec();
        fields
            .entry(name.to_ascii_lowercase())
            .or_default()
            .push((name, value));
    }
    let text = |name: &str| {
        fields
            .get(name)
            .map(|all| String::from_utf8(all[0].1.clone()).unwrap())
    };
    let mut body = Vec::new();
    if is_bodiless {
    } else if let Some(length) = text("content-length") {
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body).await?;
    } else if text("transfer-encoding").is_some() {
        loop {
            let line = String::from_utf8(read_until(stream, b"\r\n").await?).unwrap();
            let mut chunk = vec![0; usize::from_str_radix(line.trim(), 16).unwrap() + 2];
            stream.read_exact(&mut chunk).await?;
            if chunk.len() == 2 {
                break;
            }
            body.extend_from_slice(&chunk[..chunk.len() - 2]);
        }
    } else if first.starts_with("HTTP/") {
        stream.read_to_end(&mut body).await?;
    }
    Ok(Seen {
        first,
        fields,
        body,
    })
}

/// What is left when that is taken away which the table in the README names.
fn own(fields: &Fields) -> Fields {
    let own = fields.iter().filter(|(name, _)| name.starts_with("xp-"));
    own.map(|(name, values)| (name.clone(), values.clone()))
        .collect()
}

fn sent(message: &Message, spell: impl Fn(&str) -> String) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in &message.fields {
        let all = fields.entry(name.to_ascii_lowercase()).or_default();
        all.push((spell(name), value.clone()));
    }
    fields
}

/// As old applications know names: each part begins with a capital letter. As hyper has it.
fn title(name: &str) -> String {
    let mut is_first = true;
    let capital = |letter: char| {
        let letter = if is_first {
            letter.to_ascii_uppercase()
        } else {
            letter
        };
        is_first = letter == '-';
        letter
    };
    name.to_ascii_lowercase().chars().map(capital).collect()
}

async fn over_h1(sidecar: &Sidecar, wire: &[u8], is_head: bool) -> Seen {
    let mut stream = Client::h1(sidecar).connect().await.unwrap();
    stream.write_all(wire).await.unwrap();
    stream.flush().await.unwrap();
    let mut peeked = read_until(&mut stream, b" ").await.unwrap();
    let mut status = [0; 3];
    stream.read_exact(&mut status).await.unwrap();
    peeked.extend_from_slice(&status);
    let is_bodiless = is_head || matches!(&status, b"204" | b"304");
    let mut whole = std::io::Cursor::new(peeked).chain(stream);
    read_message(&mut whole, is_bodiless).await.unwrap()
}

async fn over_h2(h2: &H2, method: &str, path: &str, message: &Message) -> Seen {
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = format!("https://localhost{path}").parse().unwrap();
    for (name, value) in &message.fields {
        let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap();
        request
            .headers_mut()
            .append(name, HeaderValue::from_bytes(value).unwrap());
    }
    if let Body::Known(bytes) = &message.body {
        request
            .headers_mut()
            .insert("content-length", bytes.len().into());
    }
    let is_empty = matches!(message.body, Body::None);
    let (response, mut stream) = h2.begin(request, is_empty).await;
    match &message.body {
        Body::Pieces(pieces) => {
            for piece in pieces {
                stream.send_data(Bytes::from(piece.clone()), false).unwrap();
            }
            stream.send_data(Bytes::new(), true).unwrap();
        }
        Body::Known(bytes) => stream.send_data(Bytes::from(bytes.clone()), true).unwrap(),
        Body::None | Body::ToTheEnd(_) => {}
    }
    let (head, mut stream) = response.await.unwrap().into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.unwrap();
        let _ = stream.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    let mut fields = Fields::new();
    for (name, value) in &head.headers {
        let all = fields.entry(name.to_string()).or_default();
        all.push((name.to_string(), value.as_bytes().to_vec()));
    }
    Seen {
        first: format!("HTTP/2 {}", head.status.as_u16()),
        fields,
        body,
    }
}

#[test]
fn every_request_and_every_response_arrives_as_it_was_sent() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (seen, says) = (
        Arc::<Mutex<Option<Seen>>>::default(),
        Arc::<Mutex<(Vec<u8>, bool)>>::default(),
    );
    let (sidecar, h2) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let application = Application {
            listener,
            seen: Arc::clone(&seen),
            says: Arc::clone(&says),
        };
        tokio::spawn(application.run());
        let sidecar = Sidecar::start(address, &[]).await;
        let h2 = Client::new(&sidecar, &["h2"]).h2().await;
        (sidecar, h2)
    });
    // Always the same cases: a failure here is one anywhere.
    let config = Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let all = (request(), response(), any::<bool>());
    let outcome = runner.run(&all, |((method, path, asked), (status, told), is_h2)| {
        let is_head = method == "HEAD";
        let line = format!("HTTP/1.1 {status} Whatever");
        let closes =
            matches!(told.body, Body::ToTheEnd(_) | Body::None) && status != 204 && status != 304;
        *says.lock().unwrap() = (told.wire(&line, !is_head), closes);
        seen.lock().unwrap().take();
        let answer = runtime.block_on(async {
            if is_h2 {
                return over_h2(&h2, &method, &path, &asked).await;
            }
            let mut whole = asked.clone();
            whole
                .fields
                .insert(0, ("Host".to_owned(), b"localhost".to_vec()));
            over_h1(
                &sidecar,
                &whole.wire(&format!("{method} {path} HTTP/1.1"), true),
                is_head,
            )
            .await
        });
        let arrived = seen.lock().unwrap().take();
        let arrived = arrived.ok_or_else(|| TestCaseError::fail("nothing arrived"))?;
        prop_assert_eq!(&arrived.first, &format!("{} {} HTTP/1.1", method, path));
        prop_assert_eq!(&arrived.body, &asked.body.bytes());
        let spell = |name: &str| if is_h2 { title(name) } else { name.to_owned() };
        prop_assert_eq!(own(&arrived.fields), sent(&asked, spell));
        let own_word = answer.first.split(' ').nth(1).map(str::to_owned);
        prop_assert_eq!(own_word, Some(status.to_string()));
        prop_assert_eq!(
            &answer.body,
            &if is_head {
                Vec::new()
            } else {
                told.body.bytes()
            }
        );
        let spell = |name: &str| {
            if is_h2 {
                name.to_ascii_lowercase()
            } else {
                name.to_owned()
            }
        };
        prop_assert_eq!(own(&answer.fields), sent(&told, spell));
        // And nothing was added but what the table says.
        for name in answer.fields.keys().filter(|name| !name.starts_with("xp-")) {
            let known = ["date", "connection", "content-length", "transfer-encoding"];
            prop_assert!(
                known.contains(&name.as_str()),
                "{} was added to the response",
                name
            );
        }
        for name in arrived
            .fields
            .keys()
            .filter(|name| !name.starts_with("xp-"))
        {
            let known = [
                "host",
                "content-length",
                "transfer-encoding",
                "forwarded",
                "x-real-ip",
                "x-request-id",
            ];
            let is_known = known.contains(&name.as_str()) || name.starts_with("x-forwarded-");
            prop_assert!(is_known, "{} was added to the request", name);
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
