//! The application behind the sidecar: plain HTTP on the loopback, `POST /mutate` and `GET /healthz`.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::review::{self, Verdict};
use crate::kubernetes::mutate::mutate;
use crate::kubernetes::settings::Given;

/// Starts it, on a thread of its own, until the process ends.
pub(super) fn start(listener: StdListener, given: Given, limit: usize) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let app = Arc::new(App {
        given,
        limit: limit.min(ROOM),
        room: Arc::new(Semaphore::new(ROOM)),
    });
    thread::Builder::new()
        .name("webhook".to_owned())
        .spawn(move || runtime.block_on(serve(listener, app)))?;
    Ok(())
}

async fn serve(listener: TcpListener, app: Arc<App>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, Arc::clone(&app)));
            }
            // Of descriptors there may be more in a moment.
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, app: Arc<App>) {
    let service = service_fn(|request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(app.answer(request).await) }
    });
    // What becomes of it is the sidecar's business.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

struct App {
    given: Given,
    /// Bytes of a review.
    limit: usize,
    /// Bytes of all reviews that are being read.
    room: Arc<Semaphore>,
}

type Answer = Response<Full<Bytes>>;

/// What is no review, or cannot be read now.
struct Refusal(StatusCode, String);

impl App {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match (request.uri().path(), request.method()) {
            (MUTATE, &Method::POST) => match self.review(request).await {
                Ok(answer) => answer,
                Err(refusal) => refusal.answer(),
            },
            (MUTATE, _) => not_allowed("POST"),
            (HEALTH, &Method::GET | &Method::HEAD) => plain(StatusCode::OK, "ok"),
            (HEALTH, _) => not_allowed("GET, HEAD"),
            _ => plain(
                StatusCode::NOT_FOUND,
                "there is /mutate, for the API server, and /healthz",
            ),
        }
    }

    async fn review(&self, request: Request<Incoming>) -> Result<Answer, Refusal> {
        if !is_json(request.headers()) {
            let text = "a review is sent as application/json".to_owned();
            return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let reading = timeout(READ, self.read(request.into_body())).await;
        let (body, _room) = reading.unwrap_or_else(|_| {
            let text = "the review did not come in time".to_owned();
            Err(Refusal(StatusCode::REQUEST_TIMEOUT, text))
        })?;
        self.decide(&body)
            .map_err(|text| Refusal(StatusCode::BAD_REQUEST, text))
    }

    async fn read(&self, mut body: Incoming) -> Result<(Vec<u8>, OwnedSemaphorePermit), Refusal> {
        let too_large = || {
            let text = format!("a review is at most {} bytes (--max-body)", self.limit);
            Refusal(StatusCode::PAYLOAD_TOO_LARGE, text)
        };
        if body.size_hint().lower() > self.limit as u64 {
            return Err(too_large());
        }
        let mut room = self.take(0)?;
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| Refusal(StatusCode::BAD_REQUEST, error.to_string()))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if data.len() > self.limit - bytes.len() {
                return Err(too_large());
            }
            room.merge(self.take(data.len())?);
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, room))
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes);
        room.map_err(|_| {
            let text = "too many reviews are being read".to_owned();
            Refusal(StatusCode::SERVICE_UNAVAILABLE, text)
        })
    }

    fn decide(&self, body: &[u8]) -> Result<Answer, String> {
        let request = review::read(body)?;
        let verdict = request.decide(|object| mutate(object, &self.given));
        let (uid, namespace) = (&request.uid, request.namespace.as_deref());
        match &verdict {
            Verdict::Refused(why) => tracing::info!(?uid, ?namespace, "refused: {why}"),
            Verdict::Left(notes) => {
                for note in notes {
                    tracing::info!(?uid, ?namespace, "{}: {}", note.at, note.text);
                }
            }
            Verdict::Changed(..) => {}
        }
        let mut answer = Response::new(Full::from(request.answer(&verdict).to_string()));
        let json = HeaderValue::from_static(JSON);
        answer.headers_mut().insert(CONTENT_TYPE, json);
        Ok(answer)
    }
}

impl Refusal {
    fn answer(self) -> Answer {
        let Self(status, text) = self;
        let mut answer = plain(status, &text);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = HeaderValue::from_static("1");
            answer.headers_mut().insert(RETRY_AFTER, soon);
        }
        answer
    }
}

/// Whether the content type is JSON, with whatever parameters.
fn is_json(fields: &HeaderMap) -> bool {
    let value = fields
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(JSON))
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = plain(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("here is only {methods}"),
    );
    let fields = answer.headers_mut();
    fields.insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

fn plain(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Full::from(format!("{text}\n")));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// What the sidecar's `/app` asks for.
pub(super) const HEALTH: &str = "/healthz";
const MUTATE: &str = "/mutate";
const JSON: &str = "application/json";

/// For all reviews together; a single one cannot be larger, whatever --max-body says.
const ROOM: usize = 16 << 20;
/// The API server itself waits for 30 s at most.
const READ: Duration = Duration::from_secs(30);
/// Far longer than the sidecar keeps a connection.
const IDLE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    use super::*;

    fn started(limit: usize) -> SocketAddr {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        start(listener, Given::default(), limit).unwrap();
        address
    }

    fn begun(app: SocketAddr, rest: &str) -> TcpStream {
        let mut stream = TcpStream::connect(app).unwrap();
        stream.set_read_timeout(Some(READ)).unwrap();
        let head = "POST /mutate HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n";
        stream
            .write_all(format!("{head}{rest}").as_bytes())
            .unwrap();
        stream
    }

    /// The first bytes of the answer.
    fn answered(stream: &mut TcpStream) -> String {
        let mut head = [0; 400];
        let count = stream.read(&mut head).unwrap();
        String::from_utf8_lossy(&head[..count]).into_owned()
    }

    #[test]
    fn it_has_a_limit_of_its_own() {
        let app = started(10);
        for (rest, status) in [
            ("Content-Length: 11\r\n\r\n", "413"),
            (
                "Transfer-Encoding: chunked\r\n\r\n6\r\n      \r\n6\r\n      \r\n",
                "413",
            ),
            ("Content-Length: 10\r\n\r\n          ", "400"),
            ("Transfer-Encoding: chunked\r\n\r\nbroken", "400"),
        ] {
            let answer = answered(&mut begun(app, rest));
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}")),
                "{rest}: {answer}"
            );
        }
    }

    #[test]
    fn all_reviews_that_are_being_read_have_a_limit_together() {
        let app = started(usize::MAX);
        let half = format!("Content-Length: {ROOM}\r\n\r\n{}", " ".repeat(ROOM / 2));
        let first = begun(app, &half);
        // Both have come when the third is told to come later.
        let mut second = begun(app, &half[..half.len() - 1]);
        let mut tries = 0..200;
        let full = tries.any(|_| {
            thread::sleep(Duration::from_millis(50));
            answered(&mut begun(app, "Content-Length: 3\r\n\r\n   ")).starts_with("HTTP/1.1 503")
        });
        assert!(full);
        drop(first);
        let free = tries.any(|_| {
            thread::sleep(Duration::from_millis(50));
            answered(&mut begun(app, "Content-Length: 3\r\n\r\n   ")).starts_with("HTTP/1.1 400")
        });
        assert!(free);
        second.write_all(&[b' '; 2]).unwrap();
    }
}
