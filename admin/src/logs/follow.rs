//! `GET /logs?follow=true`: a stream of records as they come.
//!
//! A follower looks at the ring by itself, so that a request never has to wake anybody, and looks again only when its client
//! has taken what came before. A client that does not read makes its own follower wait, and is told afterwards what it missed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header;
use hyper::body::{Bytes, Frame};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::all_after;
use super::asked::{Asked, Since};
use super::filter::Filter;
use super::form::Form;
use crate::handles::Records;
use crate::server::Following;

/// The answer, and the task that fills its body until the client has gone.
pub(super) async fn start(
    records: Arc<dyn Records>,
    asked: Asked,
    form: Form,
    following: Option<Following>,
) -> Response {
    // The place is settled before the client hears anything: what it does next is behind that place.
    let (follower, backlog) = Follower::new(records, asked, form).await;
    let (to, from) = channel(1);
    tokio::spawn(async move {
        tokio::select! {
            () = to.closed() => {}
            _ = follower.run(backlog, &to) => {}
        }
    });
    let headers = [
        (header::CONTENT_TYPE, form.content_type()),
        (header::CACHE_CONTROL, "no-store"),
        // nginx and its kind would keep the records until a buffer is full.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let pieces = Pieces {
        from,
        _following: following,
    };
    (headers, Body::new(pieces)).into_response()
}

struct Follower {
    records: Arc<dyn Records>,
    filter: Filter,
    form: Form,
    /// Up to where it has looked; none before the first look, where that begins with the oldest record.
    place: Option<u64>,
}

impl Follower {
    /// A follower, and what it shows first: the last of the records there are, where it was asked for so many.
    async fn new(records: Arc<dyn Records>, asked: Asked, form: Form) -> (Self, Vec<Arc<[u8]>>) {
        let place = match &asked.since {
            Some(Since::Id(id)) => records.place_of(id),
            Some(Since::Time(_)) => None,
            None => Some(records.newest()),
        };
        let mut follower = Self {
            records,
            filter: asked.filter,
            form,
            place,
        };
        let Some(limit) = asked.limit else {
            return (follower, Vec::new());
        };
        let from = asked.since.and(place).unwrap_or_default();
        let (kept, place) = all_after(&*follower.records, from);
        follower.place = Some(place);
        let newest_first = kept.into_iter().rev();
        let mut backlog = follower.filter.choose(newest_first, limit).await;
        backlog.reverse();
        (follower, backlog)
    }

    /// Ends when nobody listens any more.
    async fn run(
        mut self,
        backlog: Vec<Arc<[u8]>>,
        to: &Sender<Bytes>,
    ) -> Result<Infallible, SendError<()>> {
        for lines in backlog.chunks(LOOK) {
            let mut piece = Vec::new();
            for line in lines {
                self.form.record(&mut piece, line);
            }
            to.reserve().await?.send(piece.into());
        }
        drop(backlog);
        let mut last_sent = Instant::now();
        loop {
            // Room first, then a look: what waits for a slow client waits in the ring, where it is kept for all.
            let room = to.reserve().await?;
            let (piece, has_more) = self.look();
            if !piece.is_empty() {
                room.send(piece.into());
                last_sent = Instant::now();
            } else if last_sent.elapsed() >= HEARTBEAT {
                room.send(self.form.heartbeat());
                last_sent = Instant::now();
            }
            if has_more {
                yield_now().await;
            } else {
                sleep(INTERVAL).await;
            }
        }
    }

    /// What came since the last look, as it goes to the client, and whether there is more.
    fn look(&mut self) -> (Vec<u8>, bool) {
        let passage = self.records.after(self.place.unwrap_or_default(), LOOK);
        let mut piece = Vec::new();
        // Who begins with the oldest has missed nothing.
        if self.place.is_some() && passage.missed > 0 {
            self.form.missed(&mut piece, passage.missed);
        }
        self.place = Some(passage.place);
        for line in &passage.lines {
            if self.filter.admits(line) {
                self.form.record(&mut piece, line);
            }
        }
        (piece, passage.place < self.records.newest())
    }
}

/// The pieces as a body. Dropped, it ends its follower and gives its place back.
struct Pieces {
    from: Receiver<Bytes>,
    _following: Option<Following>,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.from.poll_recv(context);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Records of one look, and of one piece: nobody can make the control thread busy for long.
const LOOK: usize = 100;
const INTERVAL: Duration = Duration::from_millis(100);
const HEARTBEAT: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use axum::extract::{Query, State};
    use http::{HeaderMap, HeaderName, HeaderValue, Uri};
    use hyper::body::Body as _;
    use serde_json::Value;

    use super::*;
    use crate::fakes::{History, exchange, handles, id};

    const EVENTS: (&str, &str) = ("accept", "text/event-stream");
    const NOTICE: &str = r#"{"kind":"notice","time":"2026-11-23T10:00:04.000000Z","dropped":3}"#;

    struct Stream(Body);

    impl Stream {
        async fn open(records: &Arc<History>, query: &str, fields: &[(&str, &str)]) -> Self {
            let uri: Uri = format!("/logs?follow=true&{query}").parse().unwrap();
            let fields = fields.iter().map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            });
            let headers: HeaderMap = fields.collect();
            let is_events = headers.values().any(|value| value == EVENTS.1);
            let handles = handles(Arc::clone(records) as Arc<dyn Records>);
            let parameters = Query::try_from_uri(&uri);
            let response = crate::logs::show(State(handles), None, headers, parameters)
                .await
                .unwrap();
            let form = if is_events { Form::Events } else { Form::Lines };
            for (name, value) in [
                ("content-type", form.content_type()),
                ("cache-control", "no-store"),
                ("x-accel-buffering", "no"),
            ] {
                assert_eq!(response.headers()[name], value);
            }
            Self(response.into_body())
        }

        async fn piece(&mut self) -> String {
            let frame = poll_fn(|context| Pin::new(&mut self.0).poll_frame(context)).await;
            let data = frame.unwrap().unwrap().into_data().unwrap();
            String::from_utf8(data.to_vec()).unwrap()
        }

        /// The ids of the next piece, shortened to their numbers.
        async fn numbers(&mut self) -> Vec<u64> {
            let piece = self.piece().await;
            let lines = piece
                .lines()
                .map(|line| serde_json::from_str(line).unwrap());
            lines.map(|record| number(&record)).collect()
        }
    }

    fn number(record: &Value) -> u64 {
        record["id"].as_str().unwrap()[24..].parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_begins_where_it_was_asked_to_and_goes_on_from_there() {
        let second = id(2);
        let unknown = id(77);
        for (query, first) in [
            (String::new(), &[][..]),
            ("limit=0".to_owned(), &[]),
            ("limit=2".to_owned(), &[3, 4]),
            ("limit=2&path=/0".to_owned(), &[0]),
            ("limit=50".to_owned(), &[0, 1, 2, 3, 4]),
            (format!("since={second}"), &[3, 4]),
            (format!("since={second}&limit=1"), &[4]),
            (format!("since={unknown}"), &[0, 1, 2, 3, 4]),
            ("since=2026-11-23T10:00:00Z".to_owned(), &[0, 1, 2, 3, 4]),
            ("since=2026-11-23T10:00:00Z&limit=1".to_owned(), &[4]),
            ("since=2026-11-23T10:00:00Z&path=/3".to_owned(), &[3]),
        ] {
            let records = History::of(5);
            // What was pushed out before anybody followed was not missed by anybody.
            records.push_exchanges(90..95);
            records.push_exchanges(0..5);
            let mut stream = Stream::open(&records, &query, &[]).await;
            if !first.is_empty() {
                assert_eq!(stream.numbers().await, first, "{query}");
            }
            for number in [300, 301] {
                records.push_exchanges(number..number + 1);
                let wanted = if query.ends_with("/0") {
                    // A filter goes on to apply.
                    records.push(&exchange(number).replace("\"/3", "\"/0"));
                    &[number]
                } else {
                    &[number]
                };
                assert_eq!(stream.numbers().await, wanted, "{query}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_closed_right_after_the_answer_is_shown() {
        let records = History::of(5);
        let mut stream = Stream::open(&records, "", &[]).await;
        // The follower's task has not had its first turn yet.
        records.push_exchanges(1..2);
        assert_eq!(stream.numbers().await, [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_backlog_comes_in_pieces() {
        let records = History::of(1200);
        records.push_exchanges(0..1200);
        let since = format!("since={}", id(49));
        for (query, from) in [("limit=1150", 50), (&since, 50)] {
            let mut stream = Stream::open(&records, query, &[]).await;
            let begun = Instant::now();
            let mut seen = Vec::new();
            while seen.len() < 1150 {
                let piece = stream.numbers().await;
                assert_eq!(piece.len(), LOOK.min(1150 - seen.len()), "{query}");
                seen.extend(piece);
            }
            assert!(seen.into_iter().eq(from..1200), "{query}");
            // One look follows another at once as long as there is more.
            assert!(begun.elapsed() < INTERVAL, "{query}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_carry_the_id_by_which_a_client_goes_on_later() {
        let records = History::of(5);
        let mut stream = Stream::open(&records, "limit=1", &[EVENTS]).await;
        records.push_exchanges(1..2);
        records.push(NOTICE);
        assert_eq!(
            stream.piece().await,
            format!("id: {}\ndata: {}\n\ndata: {NOTICE}\n\n", id(1), exchange(1))
        );
        drop(stream);
        records.push_exchanges(2..4);
        let last_seen = id(1);
        // All that came since, although the query has a limit.
        let back = [EVENTS, ("last-event-id", &*last_seen)];
        let mut stream = Stream::open(&records, "limit=1", &back).await;
        let piece = stream.piece().await;
        assert!(piece.starts_with(&format!("data: {NOTICE}\n\nid: {}\n", id(2))));
        assert!(piece.contains(&format!("id: {}\n", id(3))));
        // What was asked for in so many words counts more; what is no id of ours counts nothing.
        let since = format!("since={}", id(2));
        for (query, last_seen) in [(&*since, &*last_seen), ("limit=1", "7")] {
            let back = [EVENTS, ("last-event-id", last_seen)];
            let mut stream = Stream::open(&records, query, &back).await;
            let piece = stream.piece().await;
            assert!(piece.starts_with(&format!("id: {}\n", id(3))), "{piece}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_told_how_many_it_missed_and_every_record_is_accounted_for() {
        for (fields, event) in [(&[][..], ""), (&[EVENTS][..], "event: missed\ndata: ")] {
            let records = History::of(100);
            let mut stream = Stream::open(&records, "path=/1", fields).await;
            // Time for a look after each: the first piece waits for the client, the others in the ring.
            for from in (1000..1900).step_by(50) {
                records.push_exchanges(from..from + 50);
                sleep(INTERVAL * 2).await;
            }
            let is_record = |line: &&str| line.contains("\"id\"");
            let first = stream.piece().await;
            assert_eq!(first.lines().filter(is_record).count(), 50);
            let rest = stream.piece().await;
            let told = if event.is_empty() {
                "{\"kind\":\"missed\",\"missed\":750}\n".to_owned()
            } else {
                format!("{event}{{\"missed\":750}}\n\n")
            };
            assert!(rest.starts_with(&told), "{rest}");
            assert_eq!(rest.lines().filter(is_record).count(), 100);
            assert!(rest.contains(&id(1899)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_comes_after_fifteen_seconds_without_anything_sent() {
        let records = History::of(5);
        let mut lines = Stream::open(&records, "status=5xx", &[]).await;
        let begun = Instant::now();
        for beat in 1..3 {
            // A record that is not shown is no sign of life.
            records.push_exchanges(1..2);
            let piece: Value = serde_json::from_str(&lines.piece().await).unwrap();
            assert_eq!(piece["kind"], "heartbeat");
            let time = piece["time"].as_str().unwrap();
            assert!(
                time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339)
                    .is_ok()
            );
            assert_eq!(begun.elapsed().as_secs(), 15 * beat);
        }
        let mut events = Stream::open(&records, "", &[EVENTS]).await;
        sleep(Duration::from_secs(10)).await;
        records.push_exchanges(2..3);
        assert!(events.piece().await.starts_with("id: "));
        let begun = Instant::now();
        assert_eq!(events.piece().await, ": heartbeat\n\n");
        assert_eq!(begun.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_ends_with_its_client() {
        let records = History::of(5);
        let stuck = Stream::open(&records, "", &[]).await;
        let mut idle = Stream::open(&records, "", &[]).await;
        records.push_exchanges(0..1);
        assert_eq!(idle.numbers().await, [0]);
        // Well before the next look.
        sleep(INTERVAL * 5 / 2).await;
        assert_eq!(Arc::strong_count(&records), 3);
        drop((idle, stuck));
        yield_now().await;
        assert_eq!(Arc::strong_count(&records), 1);
    }
}
