//! WebSockets over both versions of HTTP: what is said comes back, and each ends in order or by its client's leaving.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::content::Content;
use crate::dial::Secured;
use crate::http1::PATIENCE;
use crate::plan::{Fate, Kind, Plan, Wire};
use crate::verdict::Outcome;
use crate::world::World;

/// One client after the other.
pub(crate) async fn clients(world: Arc<World>, mut rng: fastrand::Rng) {
    while world.goes_on() {
        let is_http1 = rng.bool();
        let wire = if is_http1 { Wire::Once } else { Wire::H2 };
        let mut plan = Plan::new(Kind::WebSocket, wire);
        if rng.u8(..5) == 0 {
            plan.fate = Fate::LeavesInResponse;
        }
        let stream = if is_http1 {
            world.dialer.http1(&mut rng).await
        } else {
            world.dialer.http2(&mut rng).await
        };
        let Some(stream) = stream else { return };
        let id = world.books.open(plan);
        let began = Instant::now();
        let talk = talk(&world, &mut rng, stream, (plan, id));
        let outcome = match timeout(PATIENCE, talk).await {
            Ok(Ok(_)) if plan.fate == Fate::LeavesInResponse => Outcome::Left,
            Ok(Ok(app)) => Outcome::Whole {
                app,
                took: began.elapsed(),
            },
            Ok(Err(Failure::Answered(status))) => Outcome::Answered(status),
            Ok(Err(Failure::Wrong(what))) => Outcome::Wrong(what),
            Ok(Err(_)) if plan.fate == Fate::LeavesInResponse => Outcome::Left,
            Ok(Err(Failure::Lost(error))) => Outcome::Cut(error),
            Err(_) => Outcome::Wrong(format!("not over after {PATIENCE:?}")),
        };
        world.books.ended(id, outcome);
        world.pause(&mut rng, 50..500).await;
    }
}

/// The whole of it; the application that has answered.
async fn talk(
    world: &World,
    rng: &mut fastrand::Rng,
    stream: Secured,
    (plan, id): (Plan, u64),
) -> Result<usize, Failure> {
    if plan.wire == Wire::H2 {
        let (socket, app) = over_http2(stream, &plan, id).await?;
        return converse(world, rng, socket, (plan, id)).await.map(|()| app);
    }
    let address = format!("wss://localhost{}", plan.target(id));
    let (socket, agreed) = client_async(address, stream).await?;
    let app = app(&agreed)?;
    converse(world, rng, socket, (plan, id)).await.map(|()| app)
}

async fn over_http2(
    stream: Secured,
    plan: &Plan,
    id: u64,
) -> Result<(WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>, usize), Failure> {
    let (mut send, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://localhost{}", plan.target(id)))
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::Wrong(error.to_string()))?;
    let response = send.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(Failure::Answered(response.status().as_u16()));
    }
    let app = app(&response)?;
    let upgraded = hyper::upgrade::on(response).await?;
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    Ok((socket, app))
}

/// Some messages, then the end.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    world: &World,
    rng: &mut fastrand::Rng,
    mut socket: WebSocketStream<S>,
    (plan, id): (Plan, u64),
) -> Result<(), Failure> {
    let messages = rng.usize(1..20);
    let mut content = Content::new(id, usize::MAX);
    for _ in 0..messages {
        let most = if rng.u8(..4) == 0 { 16_000 } else { 200 };
        let message = Message::binary(content.next(rng.usize(1..most)).unwrap_or_default());
        socket.send(message.clone()).await?;
        let back = socket.next().await.ok_or_else(Failure::ended)??;
        if back != message {
            return Err(Failure::Wrong(format!("what came back is {back:?}")));
        }
        world.pause(rng, 5..150).await;
    }
    if plan.fate == Fate::LeavesInResponse {
        return Ok(());
    }
    socket.close(None).await?;
    let bye = socket.next().await.ok_or_else(Failure::ended)??;
    bye.is_close().then_some(()).ok_or_else(Failure::ended)
}

fn app<B>(agreed: &Response<B>) -> Result<usize, Failure> {
    let said = agreed.headers().get("x-soak-app");
    let number = said.and_then(|app| app.to_str().ok()?.parse().ok());
    number.ok_or_else(|| Failure::Wrong("no application has agreed".to_owned()))
}

/// Why a conversation did not come to its end.
enum Failure {
    /// The sidecar's own answer.
    Answered(u16),
    Lost(String),
    Wrong(String),
}

impl Failure {
    fn ended() -> Self {
        Self::Lost("it ended without a last word".to_owned())
    }
}

impl From<tungstenite::Error> for Failure {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(answer) => Self::Answered(answer.status().as_u16()),
            error => Self::Lost(error.to_string()),
        }
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::Lost(error.to_string())
    }
}
