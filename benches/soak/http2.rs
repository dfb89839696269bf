//! Clients of HTTP/2, with several streams at once.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::content::{Content, Due, PIECE};
use crate::http1::PATIENCE;
use crate::plan::{Fate, Kind, Plan, Wire};
use crate::verdict::Outcome;
use crate::world::World;

/// One client after the other.
pub(crate) async fn clients(world: Arc<World>, mut rng: fastrand::Rng) {
    while world.goes_on() {
        let Some(stream) = world.dialer.http2(&mut rng).await else {
            return;
        };
        let shaken = h2::client::Builder::new()
            .initial_connection_window_size(ROOM)
            .handshake(stream);
        let (send, connection) = match shaken.await {
            Ok(shaken) => shaken,
            Err(error) => return world.violated(format!("no HTTP/2: {error}")),
        };
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        client(&world, &mut rng, send, connection).await;
        world.pause(&mut rng, 20..300).await;
    }
}

async fn client(
    world: &Arc<World>,
    rng: &mut fastrand::Rng,
    send: SendRequest<Bytes>,
    connection: JoinHandle<()>,
) {
    for _ in 0..rng.usize(1..8) {
        round(world, rng, &send, |rng| Plan::any(rng, Wire::H2)).await;
        if !world.goes_on() {
            break;
        }
        world.pause(rng, 20..250).await;
    }
    if rng.u8(..4) == 0 {
        // The whole client goes, whatever is open.
        let held = round(world, rng, &send, leaving).await;
        connection.abort();
        let _ = connection.await;
        drop(held);
        return;
    }
    // It says goodbye when nobody can ask for anything more.
    drop(send);
    let _ = timeout(PATIENCE, connection).await;
}

fn leaving(rng: &mut fastrand::Rng) -> Plan {
    let mut plan = Plan::new(Kind::Download, Wire::H2);
    plan.fate = Fate::LeavesInResponse;
    plan.down = rng.usize(100_000..400_000);
    plan.pause_ms = 2_000;
    plan
}

/// Some requests at once; what is still open of those whose client leaves.
async fn round(
    world: &Arc<World>,
    rng: &mut fastrand::Rng,
    send: &SendRequest<Bytes>,
    mut plan: impl FnMut(&mut fastrand::Rng) -> Plan,
) -> Vec<Open> {
    let mut asking = JoinSet::new();
    for _ in 0..rng.usize(1..6) {
        let (world, send, plan) = (Arc::clone(world), send.clone(), plan(rng));
        asking.spawn(async move { ask(&world, send, &plan).await });
    }
    asking.join_all().await.into_iter().flatten().collect()
}

/// A stream that is not over. Dropped, it is reset.
struct Open {
    send: SendStream<Bytes>,
    _receive: Option<RecvStream>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.send.send_reset(Reason::CANCEL);
    }
}

async fn ask(world: &World, send: SendRequest<Bytes>, plan: &Plan) -> Option<Open> {
    let id = world.books.open(*plan);
    let began = Instant::now();
    let asked = timeout(PATIENCE, exchange(world, send, plan, id)).await;
    let (outcome, open) = match asked {
        Ok(Ok(Got::Whole(app))) => (
            Outcome::Whole {
                app,
                took: began.elapsed(),
            },
            None,
        ),
        Ok(Ok(Got::Status(status))) => (Outcome::Answered(status), None),
        Ok(Ok(Got::Wrong(what))) => (Outcome::Wrong(what), None),
        Ok(Ok(Got::Enough(open))) => (Outcome::Left, Some(open)),
        Ok(Err(_)) if plan.fate == Fate::LeavesInResponse => (Outcome::Left, None),
        Ok(Err(error)) => (Outcome::Cut(error.to_string()), None),
        Err(_) => (Outcome::Wrong(format!("not over after {PATIENCE:?}")), None),
    };
    world.books.ended(id, outcome);
    open
}

async fn exchange(
    world: &World,
    send: SendRequest<Bytes>,
    plan: &Plan,
    id: u64,
) -> Result<Got, h2::Error> {
    let mut request = Request::builder()
        .method(plan.method())
        .uri(format!("https://localhost{}", plan.target(id)));
    if plan.kind == Kind::Put {
        request = request.header("content-length", plan.up);
    }
    let request = request.body(()).map_err(|_| Reason::INTERNAL_ERROR)?;
    let mut ready = send.ready().await?;
    let (response, mut body) = ready.send_request(request, plan.up == 0)?;
    // Whoever cannot send its request has an answer all the same.
    let _ = upload(&mut body, plan, id).await;
    if plan.fate == Fate::LeavesInRequest {
        world.is_at_app(id).await;
        return Ok(Got::Enough(Open {
            send: body,
            _receive: None,
        }));
    }
    receive(response, body, plan, id).await
}

async fn upload(to: &mut SendStream<Bytes>, plan: &Plan, id: u64) -> Result<(), h2::Error> {
    let mut content = Content::new(id, plan.up);
    let mut sent = 0;
    while let Some(mut piece) = content.next(PIECE) {
        if plan.fate == Fate::LeavesInRequest && sent * 2 >= plan.up {
            return Ok(());
        }
        sent += piece.len();
        while !piece.is_empty() {
            to.reserve_capacity(piece.len());
            let room = poll_fn(|cx| to.poll_capacity(cx)).await;
            let room = room.ok_or(Reason::STREAM_CLOSED)??.min(piece.len());
            let is_last = content.is_over() && room == piece.len();
            let is_end = is_last && plan.fate != Fate::LeavesInRequest;
            to.send_data(Bytes::from_static(&piece[..room]), is_end)?;
            piece = &piece[room..];
        }
    }
    Ok(())
}

async fn receive(
    response: ResponseFuture,
    send: SendStream<Bytes>,
    plan: &Plan,
    id: u64,
) -> Result<Got, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let said = |name: &str| head.headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let app = said("x-soak-app");
    if app.is_some() && said("x-soak-id") != Some(id) {
        return Ok(Got::Wrong(format!(
            "the answer to another request: {head:?}"
        )));
    }
    let mut due = app.map(|_| Due::of(plan, id));
    let mut is_right = true;
    while let Some(data) = body.data().await {
        let data = data?;
        if plan.fate == Fate::LeavesInResponse {
            return Ok(Got::Enough(Open {
                send,
                _receive: Some(body),
            }));
        }
        body.flow_control().release_capacity(data.len())?;
        is_right &= due.as_mut().is_none_or(|due| due.matches(&data));
    }
    Ok(match (due, app) {
        (Some(due), Some(app)) if is_right && due.is_over() && head.status == 200 => {
            Got::Whole(app as usize)
        }
        (Some(_), _) => Got::Wrong("the body is not what was asked for".to_owned()),
        (None, _) => Got::Status(head.status.as_u16()),
    })
}

/// What streams that nobody reads any more hold must not keep the others waiting.
const ROOM: u32 = 4 << 20;

/// What came.
enum Got {
    /// All that was asked for, from this application.
    Whole(usize),
    /// The sidecar's own answer.
    Status(u16),
    Wrong(String),
    /// As much as the client wanted.
    Enough(Open),
}
