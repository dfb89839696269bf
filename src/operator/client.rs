//! One request to the admin plane. Every wait has its limit.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::time::timeout;

use super::Trouble;
use super::plane::Plane;
use super::wire;
use crate::causes::with_causes;

/// What is asked of the admin plane.
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    method: Method,
    path: &'a str,
    accept: &'static str,
    body: Option<Value>,
    if_match: Option<HeaderValue>,
    patience: Duration,
}

impl<'a> Request<'a> {
    /// Reads what is at this path, which may have a query.
    pub(super) fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            accept: "application/json",
            body: None,
            if_match: None,
            patience: PATIENCE,
        }
    }

    /// Changes something, which may take longer.
    pub(super) fn change(method: Method, path: &'a str) -> Self {
        Self {
            method,
            patience: CHANGE,
            ..Self::get(path)
        }
    }

    /// Nothing is probed or read before the answer: who says nothing is not waited for as long as for a change.
    pub(super) fn soon(self) -> Self {
        let patience = PATIENCE;
        Self { patience, ..self }
    }

    /// Asks for another kind of answer.
    pub(super) fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    /// Sends this along.
    pub(super) fn body(self, body: Value) -> Self {
        let body = Some(body);
        Self { body, ..self }
    }

    /// Only if this is still what there is.
    pub(super) fn if_match(self, if_match: Option<HeaderValue>) -> Self {
        Self { if_match, ..self }
    }

    fn build(&self, plane: &Plane) -> Result<http::Request<Full<Bytes>>, Trouble> {
        let mut request = http::Request::builder()
            .method(&self.method)
            .uri(self.path)
            .header(header::HOST, plane.address.host())
            .header(header::ACCEPT, HeaderValue::from_static(self.accept))
            .header(
                header::USER_AGENT,
                concat!("portcullis/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = &plane.token {
            request = request.header(header::AUTHORIZATION, token.header());
        }
        if let Some(tag) = &self.if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        let body = match &self.body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Full::from(body.to_string())
            }
            None => Full::default(),
        };
        request
            .body(body)
            .map_err(|error| Trouble::Usage(error.to_string()))
    }
}

/// An answer that says yes.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    headers: HeaderMap,
    body: Incoming,
    plane: &'a Plane,
}

/// An answer that is JSON, whole.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// As it came.
    pub(super) text: Vec<u8>,
    /// An object.
    pub(super) value: Value,
    /// The `ETag` of what it is about.
    pub(super) etag: Option<String>,
}

/// Sends a request; an answer that says no is an error.
pub(super) async fn send<'a>(
    plane: &'a Plane,
    request: &Request<'_>,
) -> Result<Answer<'a>, Trouble> {
    let built = request.build(plane)?;
    let stream = in_time(plane, PATIENCE, wire::connect(plane)).await??;
    let odd = |error| wire::odd(plane, &error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(odd)?;
    tokio::spawn(connection);
    let response = in_time(plane, request.patience, sender.send_request(built)).await?;
    let response = response.map_err(odd)?;
    let status = response.status();
    let (head, body) = response.into_parts();
    let headers = head.headers;
    let answer = Answer {
        headers,
        body,
        plane,
    };
    if status.is_success() {
        Ok(answer)
    } else {
        Err(answer.refusal(status).await)
    }
}

/// Sends a request whose answer is JSON.
pub(super) async fn ask(plane: &Plane, request: &Request<'_>) -> Result<Said, Trouble> {
    let answer = send(plane, request).await?;
    let etag = answer.headers.get(header::ETAG);
    let etag = etag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let text = answer.whole().await?;
    let value: Option<Value> = serde_json::from_slice(&text).ok();
    match value.filter(Value::is_object) {
        Some(value) => Ok(Said { text, value, etag }),
        None => Err(Trouble::Unreachable(format!(
            "what answers at {} is no admin plane",
            plane.address
        ))),
    }
}

async fn in_time<T>(
    plane: &Plane,
    patience: Duration,
    step: impl Future<Output = T>,
) -> Result<T, Trouble> {
    timeout(patience, step)
        .await
        .map_err(|_| silence(plane, patience))
}

fn silence(plane: &Plane, waited: Duration) -> Trouble {
    let (address, seconds) = (&plane.address, waited.as_secs());
    Trouble::TimedOut(format!("{address} said nothing for {seconds} s"))
}

impl Answer<'_> {
    /// The next piece; none at the end.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Bytes>, Trouble> {
        loop {
            let frame = timeout(patience, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| silence(self.plane, patience))? else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| {
                let (address, why) = (&self.plane.address, with_causes(&error));
                Trouble::Broken(format!("the answer of {address} broke off: {why}"))
            })?;
            // What is no data is trailers.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// All of it.
    pub(super) async fn whole(self) -> Result<Vec<u8>, Trouble> {
        let address = &self.plane.address;
        let whole = timeout(OVERALL, self.gathered()).await;
        whole.map_err(|_| {
            let limit = OVERALL.as_secs();
            Trouble::TimedOut(format!("{address} did not end its answer within {limit} s"))
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
        let plane = self.plane;
        let body = match self.whole().await {
            Ok(body) => body,
            Err(trouble) => return trouble,
        };
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let Some(detail) = problem["detail"].as_str() else {
            if status.is_redirection() {
                return Trouble::Unreachable(format!(
                    "what answers at {} is no admin plane: it sends clients elsewhere ({status})",
                    plane.address
                ));
            }
            return Trouble::Negative(format!("{} answered {status}", plane.address));
        };
        let words = detail.to_owned();
        match status {
            StatusCode::BAD_REQUEST => Trouble::Usage(words),
            StatusCode::UNAUTHORIZED if plane.token.is_none() => Trouble::Negative(format!(
                "{words}; give a token with --admin-token-file FILE"
            )),
            StatusCode::NOT_FOUND => Trouble::Negative(format!(
                "{words}; is --admin the admin plane, and not the probe plane, and is the sidecar as new as this command?"
            )),
            _ => Trouble::Negative(words),
        }
    }
}

/// Bytes of an answer.
const MOST: usize = 256 << 20;
/// For all of an answer, however it trickles.
const OVERALL: Duration = Duration::from_secs(30);
/// For a connection, for the head of an answer, and for each piece of what there is already.
const PATIENCE: Duration = Duration::from_secs(5);
/// For the answer to a change, before which an application may be probed or every certificate be read.
const CHANGE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::net::SocketAddr;

    use super::super::fake;
    use super::*;

    async fn trouble(pieces: Vec<String>) -> Trouble {
        let (plane, _served) = fake::admin(pieces).await;
        ask(&plane, &Request::get("/status")).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_words_of_the_admin_plane() {
        let problem = |status: &str| fake::answer(status, r#"{"title":"T","detail":"not so"}"#);
        for (status, wanted) in [
            ("400 Bad Request", Trouble::Usage("not so".to_owned())),
            ("403 Forbidden", Trouble::Negative("not so".to_owned())),
            ("409 Conflict", Trouble::Negative("not so".to_owned())),
            (
                "412 Precondition Failed",
                Trouble::Negative("not so".to_owned()),
            ),
            (
                "422 Unprocessable Entity",
                Trouble::Negative("not so".to_owned()),
            ),
            (
                "429 Too Many Requests",
                Trouble::Negative("not so".to_owned()),
            ),
            (
                "503 Service Unavailable",
                Trouble::Negative("not so".to_owned()),
            ),
        ] {
            assert_eq!(trouble(problem(status)).await, wanted);
        }
        let older = trouble(problem("404 Not Found")).await;
        assert_eq!(older.code(), 1);
        assert!(
            older.to_string().starts_with("not so; is --admin"),
            "{older}"
        );
        let bare = trouble(fake::answer("404 Not Found", "<html>")).await;
        assert_eq!(bare.code(), 1);
        assert!(
            bare.to_string().ends_with("answered 404 Not Found"),
            "{bare}"
        );
    }

    #[tokio::test]
    async fn a_token_is_shown_and_one_that_is_lacking_is_asked_for() {
        let problem = r#"{"title":"T","detail":"this needs a token"}"#;
        let refusal = || fake::answer("401 Unauthorized", problem);
        let asked = trouble(refusal()).await;
        assert_eq!(asked.code(), 1);
        assert_eq!(
            asked.to_string(),
            "this needs a token; give a token with --admin-token-file FILE"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "5ec12e7").unwrap();
        let (mut plane, served) = fake::admin(refusal()).await;
        let path = file.path().to_str().unwrap();
        plane.token = Some(super::super::token::Token::read(path).unwrap());
        let wrong = ask(&plane, &Request::get("/status")).await.unwrap_err();
        assert_eq!(wrong, Trouble::Negative("this needs a token".to_owned()));
        let request = served.await.unwrap().to_ascii_lowercase();
        assert!(
            request.contains("authorization: bearer 5ec12e7\r\n"),
            "{request}"
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
        for body in ["", "<html>", "[]", "\"ready\""] {
            let other = trouble(fake::answer("200 OK", body)).await;
            assert_eq!(other.code(), 3, "{body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_without_end() {
        let plane = Plane::at(SocketAddr::from(([127, 0, 0, 1], 9901)));
        let waited = in_time(&plane, PATIENCE, pending::<()>()).await;
        let trouble = waited.unwrap_err();
        assert_eq!(
            trouble,
            Trouble::TimedOut("127.0.0.1:9901 said nothing for 5 s".to_owned())
        );
        assert_eq!(trouble.code(), 4);
    }
}
