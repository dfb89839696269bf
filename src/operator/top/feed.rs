//! What the admin plane is asked, again and again: how it is and what it has counted, each interval; and its records as they
//! come. Who does not answer is asked again.

use std::convert::Infallible;
use std::future::pending;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::super::Trouble;
use super::super::client::{self, Answer, Request};
use super::super::plane::Plane;
use super::super::query::Query;
use super::counters;
use super::model::{News, Poll};
use super::record::{self, Line};

/// One look at the sidecar.
pub(super) async fn look(plane: &Plane) -> Result<News, Trouble> {
    let status = client::ask(plane, &Request::get("/status")).await?;
    let metrics = Request::get("/metrics").accept("text/plain");
    let text = client::send(plane, &metrics).await?.whole().await?;
    let (counters, gauges) = counters::read(&String::from_utf8_lossy(&text));
    Ok(News::Polled(Box::new(Poll {
        at: Instant::now(),
        status: status.value,
        counters,
        gauges,
    })))
}

/// Looks each interval. One that is late is not made up for.
pub(super) async fn poll(plane: &Plane, every: Duration, to: &Sender<News>) -> Infallible {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comes at once.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let news = look(plane).await;
        let news = news.unwrap_or_else(|trouble| News::Lost(trouble.to_string()));
        tell(to, news).await;
    }
}

/// Follows the records, after a look at those that there are. Each attempt goes on after the last record that was seen; of
/// another process, whose records have other ids, it begins with the first.
pub(super) async fn follow(plane: &Plane, to: &Sender<News>) -> Infallible {
    let mut last = None;
    if let Ok(mut lines) = earlier(plane).await {
        // The admin plane begins with the newest.
        lines.reverse();
        last = Some(last_of(&lines).unwrap_or_else(|| NOBODYS.to_owned()));
        tell(to, News::Earlier(lines)).await;
    }
    loop {
        let ended = stream(plane, to, &mut last).await;
        let why = ended.map_or_else(|trouble| trouble.to_string(), |()| ENDED.to_owned());
        tell(to, News::Stream(Some(why))).await;
        sleep(AGAIN).await;
    }
}

async fn earlier(plane: &Plane) -> Result<Vec<Line>, Trouble> {
    let request = Request::get("/logs?limit=1000").accept(NDJSON);
    let body = client::send(plane, &request).await?.whole().await?;
    Ok(lines(&body))
}

async fn stream(
    plane: &Plane,
    to: &Sender<News>,
    last: &mut Option<String>,
) -> Result<(), Trouble> {
    let mut query = Query::new("/logs");
    query.add("follow", "true");
    if let Some(last) = last {
        query.add("since", last);
    }
    let request = Request::get(query.as_str()).accept(NDJSON);
    let mut answer: Answer<'_> = client::send(plane, &request).await?;
    tell(to, News::Stream(None)).await;
    let mut unfinished = Vec::new();
    while let Some(piece) = answer.next(SILENCE).await? {
        unfinished.extend_from_slice(&piece);
        if unfinished.len() > LONGEST {
            return Err(Trouble::Unreachable(ENDLESS.to_owned()));
        }
        if let Some(end) = memchr::memrchr(b'\n', &unfinished) {
            let lines = lines(&unfinished[..end]);
            *last = last_of(&lines).or_else(|| last.take());
            tell(to, News::Lines(lines)).await;
            unfinished.drain(..=end);
        }
    }
    Ok(())
}

/// The id of the last record.
fn last_of(lines: &[Line]) -> Option<String> {
    let mut ids = lines.iter().rev().filter_map(|line| match line {
        Line::Record(record) => Some(record.id.clone()),
        _ => None,
    });
    ids.find(|id| !id.is_empty())
}

fn lines(text: &[u8]) -> Vec<Line> {
    text.split(|byte| *byte == b'\n')
        .map(record::read)
        .collect()
}

/// Where nobody listens any more, it is over soon.
async fn tell(to: &Sender<News>, news: News) {
    if to.send(news).await.is_err() {
        pending().await
    }
}

const NDJSON: &str = "application/x-ndjson";
/// The id of no record: what comes after it is everything.
const NOBODYS: &str = "00000000-0000-0000-0000-000000000000";
const ENDED: &str = "the sidecar has ended the stream; trying again";
const ENDLESS: &str = "what answers is no admin plane: its lines have no end";
/// Between two attempts to follow.
const AGAIN: Duration = Duration::from_secs(1);
/// Three heartbeats.
const SILENCE: Duration = Duration::from_secs(45);
/// Bytes of a line; a piece may have as much as some thousand.
const LONGEST: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::super::fake;
    use super::*;

    async fn told(answers: Vec<Vec<String>>, count: usize) -> (Vec<News>, Vec<String>) {
        let (plane, served) = fake::talk(answers).await;
        let (to, mut news) = mpsc::channel(64);
        let mut all = Vec::new();
        tokio::select! {
            never = follow(&plane, &to) => match never {},
            () = async {
                while all.len() < count {
                    all.push(news.recv().await.unwrap());
                }
            } => {}
        }
        (all, served.await.unwrap())
    }

    #[tokio::test]
    async fn a_look_is_the_status_and_the_metrics() {
        let answers = vec![
            fake::answer("200 OK", r#"{"service":"shop"}"#),
            fake::answer("200 OK", "portcullis_requests_total{code=\"200\"} 7\n"),
        ];
        let (plane, served) = fake::talk(answers).await;
        let News::Polled(poll) = look(&plane).await.unwrap() else {
            panic!("no poll");
        };
        assert_eq!(poll.counters.requests(), 7.0);
        assert_eq!(poll.status["service"], "shop");
        let asked = served.await.unwrap();
        assert!(
            asked[1].starts_with("GET /metrics HTTP/1.1\r\n"),
            "{asked:?}"
        );
    }

    #[tokio::test]
    async fn records_are_followed_in_whole_lines_and_again_when_the_stream_ends() {
        let record = r#"{"kind":"exchange","id":"1","method":"GET","path":"/a"}"#;
        let later = &record.replace("\"1\"", "\"2\"");
        let (all, asked) = told(
            vec![
                fake::answer("200 OK", &format!("{record}\n{record}\n")),
                fake::stream(&[&later[..9], &format!("{}\n{{", &later[9..])]),
                fake::answer(
                    "503 Service Unavailable",
                    r#"{"title":"T","detail":"too many"}"#,
                ),
            ],
            5,
        )
        .await;
        let [
            News::Earlier(earlier),
            News::Stream(None),
            News::Lines(lines),
            broken,
            refused,
        ] = &all[..]
        else {
            panic!("{all:?}");
        };
        let are_records = |lines: &[Line]| {
            let records = lines.iter().filter(|line| matches!(line, Line::Record(_)));
            records.count()
        };
        assert_eq!((are_records(earlier), are_records(lines)), (2, 1));
        assert!(matches!(broken, News::Stream(Some(_))), "{broken:?}");
        assert!(
            matches!(refused, News::Stream(Some(why)) if why == "too many"),
            "{refused:?}"
        );
        for (request, since) in asked[1..].iter().zip(["1", "2"]) {
            let wanted = format!("GET /logs?follow=true&since={since} ");
            assert!(request.starts_with(&wanted), "{asked:?}");
        }
    }
}
