//! What there is, newest first, in one answer. It is written as it is sent: what waits for a slow client is the records
//! themselves, of which the ring has the same, and not a copy of all of them.

use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use hyper::body::{Bytes, Frame};

use super::all_after;
use super::asked::{Asked, Since};
use crate::accept::Accept;
use crate::handles::Records;
use crate::problem::Problem;
use crate::server::{Held, Slot};

/// The records that are asked for.
pub(super) async fn answer(
    records: &dyn Records,
    asked: &Asked,
    accept: &Accept<'_>,
    slot: Option<&Slot>,
) -> Result<Response, Problem> {
    let lines = kept(records, asked.since.as_ref());
    let limit = asked.limit.unwrap_or(usize::MAX);
    let chosen = asked.filter.choose(lines.into_iter(), limit).await;
    // What is pushed out of the ring meanwhile is only kept for this client.
    let bytes = chosen.iter().map(|line| line.len()).sum();
    let held = match slot {
        Some(slot) => Some(slot.hold(bytes).ok_or_else(too_many_answers)?),
        None => None,
    };
    let is_lines = accept.prefers("application/x-ndjson", "application/json");
    let (kind, frame) = if is_lines {
        ("application/x-ndjson", LINES)
    } else {
        ("application/json", ARRAY)
    };
    let pieces = Pieces {
        next: frame.begin,
        frame,
        lines: chosen.into_iter(),
        is_over: false,
        _held: held,
    };
    Ok(([(header::CONTENT_TYPE, kind)], Body::new(pieces)).into_response())
}

fn too_many_answers() -> Problem {
    let detail = "as much as may wait for slow clients is being sent to others; ask for less with limit, or come back";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        .reason("too_many_answers")
        .field(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

/// All records, or those after the one that `since` names; when it is there no more, all are. Ids sort by the beginning of
/// the exchange, so they could not tell what was closed later.
fn kept(records: &dyn Records, since: Option<&Since>) -> Vec<Arc<[u8]>> {
    if let Some(Since::Id(id)) = since
        && let Some(place) = records.place_of(id)
    {
        let (mut lines, _) = all_after(records, place);
        lines.reverse();
        return lines;
    }
    records.recent()
}

/// What stands around records.
#[derive(Clone, Copy)]
struct Around {
    /// Before the first.
    begin: &'static [u8],
    between: &'static [u8],
    /// After the last, and where there is none.
    end: &'static [u8],
    end_of_none: &'static [u8],
}

const ARRAY: Around = Around {
    begin: b"[\n",
    between: b",\n",
    end: b"\n]\n",
    end_of_none: b"[\n]\n",
};
const LINES: Around = Around {
    begin: b"",
    between: b"\n",
    end: b"\n",
    end_of_none: b"",
};

/// The answer as a body.
struct Pieces {
    lines: vec::IntoIter<Arc<[u8]>>,
    frame: Around,
    /// What stands before the next record.
    next: &'static [u8],
    is_over: bool,
    _held: Option<Held>,
}

impl Pieces {
    fn piece(&mut self) -> Vec<u8> {
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            let Some(line) = self.lines.next() else {
                let is_none = piece.is_empty() && self.next == self.frame.begin;
                piece.extend_from_slice(if is_none {
                    self.frame.end_of_none
                } else {
                    self.frame.end
                });
                self.is_over = true;
                break;
            };
            piece.extend_from_slice(mem::replace(&mut self.next, self.frame.between));
            piece.extend_from_slice(&line);
        }
        piece
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece().into()))))
    }
}

/// Bytes of a piece, and what one record has more.
const PIECE: usize = 32 * 1024;
