//! One request to the admin plane. Every wait has its limit.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Trouble;

/// The body of an answer that says yes.
#[derive(Debug)]
pub(super) struct Answer {
    body: Incoming,
    admin: SocketAddr,
}

/// Asks for `path`, which may have a query.
pub(super) async fn get(
    admin: SocketAddr,
    path: &str,
    accept: &'static str,
) -> Result<Answer, Trouble> {
    let stream = in_time(admin, TcpStream::connect(admin)).await?;
    let stream = stream.map_err(|error| {
        Trouble::Unreachable(format!(
            "no admin plane at {admin}: {error}; is the sidecar running, and is --admin right?"
        ))
    })?;
    let odd = |error| {
        Trouble::Unreachable(format!(
            "what answers at {admin} is no admin plane: {error}"
        ))
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(odd)?;
    tokio::spawn(connection);
    let response = in_time(admin, sender.send_request(request(admin, path, accept)?)).await?;
    let response = response.map_err(odd)?;
    let status = response.status();
    let answer = Answer {
        body: response.into_body(),
        admin,
    };
    if status == StatusCode::OK {
        Ok(answer)
    } else {
        Err(answer.refusal(status).await)
    }
}

fn request(
    admin: SocketAddr,
    path: &str,
    accept: &'static str,
) -> Result<Request<Empty<Bytes>>, Trouble> {
    Request::get(path)
        .header(header::HOST, admin.to_string())
        .header(header::ACCEPT, HeaderValue::from_static(accept))
        .header(
            header::USER_AGENT,
            concat!("portcullis/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::new())
        .map_err(|error| Trouble::Usage(error.to_string()))
}

async fn in_time<T>(admin: SocketAddr, step: impl Future<Output = T>) -> Result<T, Trouble> {
    timeout(PATIENCE, step)
        .await
        .map_err(|_| silence(admin, PATIENCE))
}

fn silence(admin: SocketAddr, waited: Duration) -> Trouble {
    Trouble::TimedOut(format!("{admin} said nothing for {} s", waited.as_secs()))
}

impl Answer {
    /// The next piece; none at the end.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Bytes>, Trouble> {
        loop {
            let frame = timeout(patience, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| silence(self.admin, patience))? else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| {
                Trouble::Broken(format!("the answer of {} broke off: {error}", self.admin))
            })?;
            // What is no data is trailers.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// All of it.
    pub(super) async fn whole(self) -> Result<Vec<u8>, Trouble> {
        let admin = self.admin;
        let whole = timeout(OVERALL, self.gathered()).await;
        whole.map_err(|_| {
            let limit = OVERALL.as_secs();
            Trouble::TimedOut(format!("{admin} did not end its answer within {limit} s"))
        })?
    }

    async fn gathered(mut self) -> Result<Vec<u8>, Trouble> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next(PATIENCE).await? {
            whole.extend_from_slice(&piece);
            if whole.len() > MOST {
                return Err(Trouble::Broken(format!(
                    "the answer is longer than {} MiB; ask for less with --limit",
                    MOST >> 20
                )));
            }
        }
        Ok(whole)
    }

    /// What a problem document (RFC 9457) says.
    async fn refusal(self, status: StatusCode) -> Trouble {
        let admin = self.admin;
        let body = match self.whole().await {
            Ok(body) => body,
            Err(trouble) => return trouble,
        };
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let words = match problem["detail"].as_str() {
            Some(detail) => detail.to_owned(),
            None => format!("{admin} answered {status}"),
        };
        match status {
            StatusCode::BAD_REQUEST => Trouble::Usage(words),
            _ => Trouble::Negative(words),
        }
    }
}

/// A path with its query.
#[derive(Debug)]
pub(super) struct Query(String);

impl Query {
    /// For `path`, without parameters.
    pub(super) fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// Adds a parameter.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        for byte in value.bytes() {
            match byte {
                b'-' | b'.' | b'_' | b'~' => self.0.push(char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => self.0.push(char::from(byte)),
                _ => self.0.push_str(&format!("%{byte:02X}")),
            }
        }
    }

    /// As it goes into a request.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Bytes of an answer.
const MOST: usize = 256 << 20;
/// For all of an answer, however it trickles.
const OVERALL: Duration = Duration::from_secs(30);
/// For a connection, for the head of an answer, and for each piece of what there is already.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::super::fake;
    use super::*;

    async fn trouble(pieces: Vec<String>) -> Trouble {
        let (admin, _served) = fake::admin(pieces).await;
        match get(admin, "/status", "*/*").await {
            Ok(answer) => answer.whole().await.unwrap_err(),
            Err(trouble) => trouble,
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_words_of_the_admin_plane() {
        let problem = |status: &str| fake::answer(status, r#"{"title":"T","detail":"not so"}"#);
        for (status, wanted) in [
            ("400 Bad Request", Trouble::Usage("not so".to_owned())),
            ("403 Forbidden", Trouble::Negative("not so".to_owned())),
            (
                "503 Service Unavailable",
                Trouble::Negative("not so".to_owned()),
            ),
        ] {
            assert_eq!(trouble(problem(status)).await, wanted);
        }
        let bare = trouble(fake::answer("404 Not Found", "<html>")).await;
        assert_eq!(bare.code(), 1);
        assert!(
            bare.to_string().ends_with("answered 404 Not Found"),
            "{bare}"
        );
    }

    #[tokio::test]
    async fn what_is_no_admin_plane_is_not_reached() {
        let foreign = trouble(vec!["SSH-2.0-OpenSSH_9.2\r\n".to_owned()]).await;
        assert!(matches!(foreign, Trouble::Unreachable(_)), "{foreign:?}");
        let silent = trouble(Vec::new()).await;
        assert!(matches!(silent, Trouble::Unreachable(_)), "{silent:?}");
        let cut = trouble(fake::stream(&["{"])).await;
        assert!(matches!(cut, Trouble::Broken(_)), "{cut:?}");
        assert_eq!([foreign.code(), silent.code(), cut.code()], [3, 3, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_without_end() {
        let admin = SocketAddr::from(([127, 0, 0, 1], 9901));
        let trouble = in_time(admin, pending::<()>()).await.unwrap_err();
        assert_eq!(
            trouble,
            Trouble::TimedOut("127.0.0.1:9901 said nothing for 5 s".to_owned())
        );
        assert_eq!(trouble.code(), 4);
    }

    #[test]
    fn a_parameter_can_hold_anything() {
        let mut query = Query::new("/logs");
        query.add("path", "/a b?&=#%é");
        query.add("since", "2026-11-23T00:00:00+01:00");
        assert_eq!(
            query.as_str(),
            "/logs?path=%2Fa%20b%3F%26%3D%23%25%C3%A9&since=2026-11-23T00%3A00%3A00%2B01%3A00"
        );
    }
}
