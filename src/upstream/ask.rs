//! One question to the application, outside the pools: a GET over a fresh connection, for probes and for whoever looks into
//! what is there. It leaves no record.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::connect::{DialError, connect};
use super::patience::stated;
use super::stream::Stream;
use super::target::{Protocol, Target, TargetUrl};
use super::targets::OwnPorts;
use crate::causes::with_causes;
use crate::headers::has_option;

/// What the application answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    /// What it speaks.
    pub(crate) version: Version,
    /// Which address has answered; none for a Unix socket.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) keep_alive: KeepAlive,
}

/// What an answer says of how long its connection is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    /// It is closed after each answer.
    Closes,
    /// It is kept when unused, for so long where that is said.
    Keeps(Option<Duration>),
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum AskError {
    /// No connection came about.
    Dial(DialError),
    /// There was a connection, and no whole answer within the limit.
    TimedOut(Duration),
    /// It went away without an answer, or what it said is no HTTP.
    Broken(String),
    /// Nothing that a request could be for.
    Path(String),
}

/// Asks for `path`, which may have a query, and waits `limit` for all of it: the connection, the head of the answer, and as
/// much of its body as an answer to such a question has. No redirect is followed.
///
/// # Errors
/// Why there is no answer. A status that says no is an answer.
pub(crate) async fn ask(
    target: &Target,
    own: &OwnPorts,
    path: &str,
    limit: Duration,
) -> Result<Answered, AskError> {
    let end = Instant::now() + limit;
    let request = request(&target.url, path)?;
    let stream = connect(target, own, limit, None)
        .await
        .map_err(AskError::Dial)?;
    let address = stream.address();
    // The connection is closed with the future that drives it.
    let answered = timeout_at(end, async {
        match target.url.protocol() {
            Protocol::Http1 => by_http1(stream, request).await,
            Protocol::H2c => by_h2(stream, request).await,
        }
    });
    let answer = answered.await.map_err(|_| AskError::TimedOut(limit))??;
    Ok(Answered {
        status: answer.status(),
        version: answer.version(),
        address,
        keep_alive: keep_alive(answer.version(), answer.headers()),
    })
}

fn request(url: &TargetUrl, path: &str) -> Result<Request<Empty<Bytes>>, AskError> {
    let authority = url.authority();
    let built = match url.protocol() {
        _ if !path.starts_with('/') => return Err(AskError::Path(path.to_owned())),
        Protocol::Http1 => Request::get(path).header(header::HOST, authority),
        // HTTP/2 makes its pseudo-header fields of these.
        Protocol::H2c => Request::get(format!("http://{authority}{path}")).version(Version::HTTP_2),
    };
    built
        .header(header::USER_AGENT, AGENT)
        .header(header::ACCEPT, "*/*")
        .body(Empty::new())
        .map_err(|_| AskError::Path(path.to_owned()))
}

async fn by_http1(
    stream: Stream,
    mut request: Request<Empty<Bytes>>,
) -> Result<Response<()>, AskError> {
    let shaken = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(stream));
    let (mut sender, connection) = shaken.await.map_err(broken)?;
    let interim = Interim::of(&mut request);
    let question = async {
        let response = tokio::select! {
            response = sender.send_request(request) => response.map_err(broken)?,
            () = interim.too_many() => return Err(AskError::Broken(ENDLESS.to_owned())),
        };
        let (head, mut body) = response.into_parts();
        // What it becomes after a 101 is not HTTP any more.
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            drain(&mut body).await?;
        }
        Ok(Response::from_parts(head, ()))
    };
    driven(question, connection).await
}

/// Interim answers (103 and the like), of which an application may send some ahead of its answer, but not only these.
#[derive(Clone, Default)]
struct Interim(Arc<(AtomicUsize, Notify)>);

impl Interim {
    fn of(request: &mut Request<Empty<Bytes>>) -> Self {
        let interim = Self::default();
        let heard = interim.clone();
        hyper::ext::on_informational(request, move |_| {
            let (count, limit) = &*heard.0;
            if count.fetch_add(1, Ordering::Relaxed) == MOST_INTERIM {
                limit.notify_one();
            }
        });
        interim
    }

    async fn too_many(&self) {
        self.0.1.notified().await;
    }
}

async fn drain(body: &mut Incoming) -> Result<(), AskError> {
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.map_err(broken)?.data_ref().map_or(0, Bytes::len);
        if read > MOST_BODY {
            break;
        }
    }
    Ok(())
}

async fn by_h2(stream: Stream, request: Request<Empty<Bytes>>) -> Result<Response<()>, AskError> {
    let shaken = h2::client::Builder::new()
        .enable_push(false)
        .max_header_list_size(MOST_HEAD as u32)
        .handshake(stream);
    let (sender, connection): (h2::client::SendRequest<Bytes>, _) = shaken.await.map_err(broken)?;
    let question = async {
        let mut sender = sender.ready().await.map_err(broken)?;
        let (response, _) = sender
            .send_request(request.map(drop), true)
            .map_err(broken)?;
        let (head, mut body) = response.await.map_err(broken)?.into_parts();
        let mut read = 0;
        while let Some(data) = body.data().await {
            let length = data.map_err(broken)?.len();
            // Only the peer's death could make it fail, and that is seen above.
            let _ = body.flow_control().release_capacity(length);
            read += length;
            if read > MOST_BODY {
                break;
            }
        }
        Ok(Response::from_parts(head, ()))
    };
    driven(question, connection).await
}

/// A question lives by its connection; what has come when that ends is still an answer.
async fn driven<T>(question: impl Future<Output = T>, connection: impl Future) -> T {
    let mut question = pin!(question);
    tokio::select! {
        answered = &mut question => return answered,
        _ = connection => {}
    }
    question.await
}

/// RFC 9112, section 9.3.
fn keep_alive(version: Version, fields: &HeaderMap) -> KeepAlive {
    let says = |option| has_option(fields, option);
    let closes = says("close") || version < Version::HTTP_11 && !says("keep-alive");
    if closes && version < Version::HTTP_2 {
        KeepAlive::Closes
    } else {
        KeepAlive::Keeps(stated(fields))
    }
}

fn broken(error: impl std::error::Error + 'static) -> AskError {
    AskError::Broken(with_causes(&error))
}

impl AskError {
    /// Whether somebody may be there, only not in time.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Dial(DialError::Timeout))
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(error) => write!(f, "it does not take connections: {error}"),
            Self::TimedOut(limit) => write!(
                f,
                "it takes connections, and has not ended an answer within {limit:?}"
            ),
            Self::Broken(error) => write!(
                f,
                "it takes connections, and its answer cannot be read as HTTP: {error}"
            ),
            Self::Path(path) => write!(f, "{path:?} is not a path like /healthz or /health?deep=1"),
        }
    }
}

const AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));
const MOST_HEAD: usize = 32 * 1024;
/// More is left unread.
const MOST_BODY: usize = 64 * 1024;

const ENDLESS: &str = "it sends interim answers (1xx) and no answer";
const MOST_INTERIM: usize = 16;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream, UnixListener};
    use tokio::task::JoinHandle;

    use super::*;

    /// Answers one request with these bytes and closes; tells what it was asked.
    async fn scripted(answer: impl Into<Vec<u8>>) -> (SocketAddr, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.into();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = head(&mut stream).await;
            // Whoever has read enough hangs up.
            let _ = stream.write_all(&answer).await;
            head
        });
        (address, served)
    }

    async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    async fn asked(url: &str, path: &'static str, limit: Duration) -> Result<Answered, AskError> {
        let target = Target::new(1, TargetUrl::parse(url).unwrap());
        // As the control thread would: the future must be able to cross threads.
        let asked = async move { ask(&target, &OwnPorts::default(), path, limit).await };
        tokio::spawn(asked).await.unwrap()
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_answer_tells_status_version_address_and_how_long_connections_are_kept() {
        for (answer, status, version, kept) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=5, max=9\r\n\r\nok",
                200,
                Version::HTTP_11,
                KeepAlive::Keeps(Some(Duration::from_secs(5))),
            ),
            (
                "HTTP/1.1 204 No Content\r\n\r\n",
                204,
                Version::HTTP_11,
                KeepAlive::Keeps(None),
            ),
            (
                "HTTP/1.1 503 Busy\r\nConnection: x, Close\r\n\r\nuntil the end",
                503,
                Version::HTTP_11,
                KeepAlive::Closes,
            ),
            (
                "HTTP/1.0 302 Found\r\nLocation: http://elsewhere/\r\n\r\n",
                302,
                Version::HTTP_10,
                KeepAlive::Closes,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
                200,
                Version::HTTP_10,
                KeepAlive::Keeps(None),
            ),
            (
                "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                200,
                Version::HTTP_11,
                KeepAlive::Keeps(None),
            ),
        ] {
            let (address, served) = scripted(answer).await;
            let answered = asked(&format!("http://{address}"), "/ready?deep=1", LIMIT).await;
            let wanted = Answered {
                status: StatusCode::from_u16(status).unwrap(),
                version,
                address: Some(address),
                keep_alive: kept,
            };
            assert_eq!(answered.unwrap(), wanted, "{answer}");
            let head = served.await.unwrap().to_ascii_lowercase();
            assert!(head.starts_with("get /ready?deep=1 http/1.1\r\n"), "{head}");
            assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
            assert!(head.contains("user-agent: portcullis/"), "{head}");
            assert!(!head.contains("connection:"), "{head}");
        }
    }

    #[tokio::test]
    async fn of_a_long_body_only_so_much_is_read() {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec();
        answer.resize(answer.len() + 2 * MOST_BODY, b'x');
        let (address, _served) = scripted(answer).await;
        let answered = asked(&format!("http://{address}"), "/", LIMIT).await;
        assert_eq!(answered.unwrap().status, StatusCode::OK);
    }

    #[tokio::test]
    async fn what_is_no_answer_is_told_in_words() {
        let free = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let refused = asked(&format!("http://{free}"), "/", LIMIT).await;
        let words = refused.unwrap_err().to_string();
        assert!(words.contains("refused"), "{words}");
        for answer in [
            "",
            "220 mail.example ESMTP\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbro",
        ] {
            let (address, _served) = scripted(answer).await;
            let broken = asked(&format!("http://{address}"), "/", LIMIT).await;
            assert!(matches!(broken, Err(AskError::Broken(_))), "{broken:?}");
        }
        let (address, _served) = scripted("").await;
        let path = asked(&format!("http://{address}"), "health", LIMIT).await;
        assert!(matches!(path, Err(AskError::Path(_))), "{path:?}");
    }

    #[tokio::test]
    async fn one_deadline_holds_for_the_head_and_for_the_body() {
        for begun in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nslo"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let served = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                head(&mut stream).await;
                stream.write_all(begun.as_bytes()).await.unwrap();
                // Whoever gives up hangs up.
                assert!(stream.read_u8().await.is_err());
            });
            let limit = Duration::from_millis(300);
            let late = asked(&format!("http://{address}"), "/", limit).await;
            assert!(matches!(late, Err(AskError::TimedOut(_))), "{late:?}");
            served.await.unwrap();
        }
    }

    #[tokio::test]
    async fn own_listeners_are_not_asked() {
        let (address, _served) = scripted("").await;
        let target = Target::new(1, TargetUrl::parse(&address.to_string()).unwrap());
        let own = OwnPorts {
            tcp: vec![address],
            ..OwnPorts::default()
        };
        let refused = ask(&target, &own, "/", LIMIT).await;
        assert!(matches!(refused, Err(AskError::Dial(DialError::Loop))));
    }

    #[tokio::test]
    async fn localhost_means_the_loopback_that_answers() {
        let (address, _served) = scripted("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        let answered = asked(&format!("localhost:{}", address.port()), "/", LIMIT).await;
        assert_eq!(answered.unwrap().address, Some(address));
    }

    #[tokio::test]
    async fn a_unix_socket_is_asked_like_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = head(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            head
        });
        let answered = asked(&format!("unix:{}", path.display()), "/", LIMIT).await;
        assert_eq!(answered.unwrap().address, None);
        let head = served.await.unwrap().to_ascii_lowercase();
        assert!(head.contains("host: localhost\r\n"), "{head}");
    }

    async fn h2_answer(stream: TcpStream) -> Result<http::Uri, h2::Error> {
        let mut connection = h2::server::handshake(stream).await?;
        let mut uri = http::Uri::default();
        while let Some(request) = connection.accept().await {
            let (request, mut respond) = request?;
            uri = request.uri().clone();
            let mut body = respond.send_response(Response::new(()), false)?;
            body.send_data(Bytes::from(vec![b'x'; 2 * MOST_BODY]), true)?;
        }
        Ok(uri)
    }

    #[tokio::test]
    async fn an_h2c_target_is_asked_in_http_2() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            h2_answer(stream).await
        });
        let answered = asked(&format!("h2c://{address}"), "/ready?deep=1", LIMIT).await;
        let answered = answered.unwrap();
        assert_eq!(
            (answered.status, answered.version),
            (StatusCode::OK, Version::HTTP_2)
        );
        // It may end as it likes; what was asked is what counts.
        if let Ok(uri) = served.await.unwrap() {
            assert_eq!(uri.to_string(), format!("http://{address}/ready?deep=1"));
        }
        let (address, _served) = scripted("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let broken = asked(&format!("h2c://{address}"), "/", LIMIT).await;
        assert!(matches!(broken, Err(AskError::Broken(_))), "{broken:?}");
    }
}
