//! What is known of the sidecar: takes what its admin plane says, and gives what is shown of that. Knows neither terminal nor
//! socket, and asks no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::Value;
use time::OffsetDateTime;

use super::counters::{Counters, Gauges};
use super::errors::Errors;
use super::record::{Line, Record};
use super::tally::{INTERVALS, Tally};

/// What the admin plane said, or that it says nothing.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// How it is, and what it has counted.
    Polled(Box<Poll>),
    /// It could not be asked, for this reason.
    Lost(String),
    /// Records from before anybody looked: of these, only errors are of interest.
    Earlier(Vec<Line>),
    /// Records as they come.
    Lines(Vec<Line>),
    /// Whether records come at all, or why they do not.
    Stream(Option<String>),
}

/// One look at the sidecar.
#[derive(Clone, Debug)]
pub(super) struct Poll {
    pub(super) at: Instant,
    pub(super) status: Value,
    pub(super) counters: Counters,
    pub(super) gauges: Gauges,
}

/// All that is known.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// The status as it was last told.
    pub(super) status: Value,
    pub(super) gauges: Gauges,
    /// Requests a second, times ten, of each interval: the oldest first.
    pub(super) chart: VecDeque<u64>,
    pub(super) paths: Tally,
    pub(super) clients: Tally,
    pub(super) errors: Errors,
    /// Records that were pushed out before they could be sent here.
    pub(super) missed: u64,
    /// When the tables began.
    pub(super) since: OffsetDateTime,
    /// Since when nothing is heard, and why.
    pub(super) lost: Option<(OffsetDateTime, String)>,
    /// Why no records come.
    pub(super) no_records: Option<String>,
    /// When another process was seen to have taken over.
    pub(super) restarted: Option<OffsetDateTime>,
    polls: VecDeque<(Instant, Counters)>,
}

/// What came in a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    pub(super) seconds: f64,
    pub(super) more: Counters,
}

impl Model {
    /// Nothing is known yet.
    pub(super) fn new(now: OffsetDateTime) -> Self {
        Self {
            status: Value::Null,
            gauges: Gauges::default(),
            chart: VecDeque::new(),
            paths: Tally::default(),
            clients: Tally::default(),
            errors: Errors::default(),
            missed: 0,
            since: now,
            lost: None,
            no_records: None,
            restarted: None,
            polls: VecDeque::new(),
        }
    }

    /// Takes what was said.
    pub(super) fn take(&mut self, news: News, now: OffsetDateTime) {
        match news {
            News::Polled(poll) => self.polled(*poll, now),
            News::Lost(why) => self.lose(why, now),
            News::Earlier(lines) => {
                let records = lines.into_iter().filter_map(|line| match line {
                    Line::Record(record) if record.is_error() => Some(record),
                    _ => None,
                });
                records.for_each(|record| self.errors.push(record));
            }
            News::Lines(lines) => lines.into_iter().for_each(|line| self.line(line)),
            News::Stream(trouble) => self.no_records = trouble,
        }
    }

    /// The tables and the chart begin anew.
    pub(super) fn reset(&mut self, now: OffsetDateTime) {
        self.chart.clear();
        self.paths = Tally::default();
        self.clients = Tally::default();
        self.errors = Errors::default();
        self.missed = 0;
        self.since = now;
    }

    /// What came in the last interval.
    pub(super) fn last(&self) -> Span {
        self.span(self.polls.len().saturating_sub(2))
    }

    /// What came in all intervals that are looked at together.
    pub(super) fn recent(&self) -> Span {
        self.span(0)
    }

    fn span(&self, from: usize) -> Span {
        let (Some((began, before)), Some((ended, after))) =
            (self.polls.get(from), self.polls.back())
        else {
            return Span::default();
        };
        Span {
            seconds: ended.duration_since(*began).as_secs_f64(),
            more: after.since(before),
        }
    }

    fn polled(&mut self, poll: Poll, now: OffsetDateTime) {
        let is_other = self.polls.back().is_some_and(|(_, before)| {
            let (old, new) = (self.gauges.started, poll.gauges.started);
            poll.counters.are_behind(before) || (old > 0.0 && new > 0.0 && new != old)
        });
        if is_other {
            // What another process has counted says nothing of this one's.
            self.polls.clear();
            self.restarted = Some(now);
        }
        let took = self.polls.back().map(|(at, _)| poll.at.duration_since(*at));
        self.polls.push_back((poll.at, poll.counters));
        if self.polls.len() > INTERVALS {
            self.polls.pop_front();
        }
        self.gauges = poll.gauges;
        self.status = poll.status;
        self.lost = None;
        let rate = self.last().rate(self.last().more.requests());
        self.tick(took.unwrap_or_default(), rate);
    }

    fn lose(&mut self, why: String, now: OffsetDateTime) {
        let since = self.lost.take().map_or(now, |(since, _)| since);
        self.lost = Some((since, why));
        self.gauges = Gauges {
            started: self.gauges.started,
            ..Gauges::default()
        };
        self.tick(Duration::ZERO, 0.0);
    }

    fn tick(&mut self, took: Duration, rate: f64) {
        self.paths.tick(took);
        self.clients.tick(took);
        self.chart.push_back((rate * 10.0).ceil() as u64);
        if self.chart.len() > LONGEST_CHART {
            self.chart.pop_front();
        }
    }

    fn line(&mut self, line: Line) {
        match line {
            Line::Record(record) => self.record(record),
            Line::Missed(missed) => self.missed += missed,
            Line::Other => {}
        }
    }

    fn record(&mut self, record: Record) {
        let is_error = record.is_error();
        if record.is_exchange() {
            self.paths.count(&record.path, is_error, record.ms);
        }
        self.clients.count(&record.client, is_error, record.ms);
        if is_error {
            self.errors.push(record);
        }
    }
}

impl Span {
    /// So much of a count in a second.
    pub(super) fn rate(&self, count: f64) -> f64 {
        if self.seconds > 0.0 {
            count / self.seconds
        } else {
            0.0
        }
    }
}

/// Intervals in the chart.
const LONGEST_CHART: usize = 512;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{counters, record};
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    /// A look, so many seconds after the first, at a sidecar that has answered so many requests.
    fn look(began: Instant, second: u64, requests: u64, started: u64) -> News {
        let text = format!(
            "portcullis_requests_total{{code=\"200\"}} {requests}\nprocess_start_time_seconds {started}\n"
        );
        let (counters, gauges) = counters::read(&text);
        News::Polled(Box::new(Poll {
            at: began + Duration::from_secs(second),
            status: json!({}),
            counters,
            gauges,
        }))
    }

    #[test]
    fn rates_are_of_the_last_interval_and_of_the_last_ten() {
        let (mut model, began) = (Model::new(NOW), Instant::now());
        for second in 0..30 {
            model.take(look(began, second, second * 10, 1), NOW);
        }
        model.take(look(began, 31, 390, 1), NOW);
        let last = model.last();
        assert_eq!((last.seconds, last.rate(last.more.requests())), (2.0, 50.0));
        let recent = model.recent();
        assert_eq!((recent.seconds, recent.more.requests()), (11.0, 190.0));
        assert_eq!(model.chart.back(), Some(&500));
        assert_eq!(model.chart.front(), Some(&0));
    }

    #[test]
    fn another_process_is_no_negative_rate() {
        let (mut model, began) = (Model::new(NOW), Instant::now());
        model.take(look(began, 0, 1000, 1), NOW);
        model.take(look(began, 1, 1100, 1), NOW);
        model.take(News::Lost("gone".to_owned()), NOW);
        assert!(model.lost.is_some());
        // It may have counted more than the last one had when that was last seen.
        for (second, requests, started) in [(9, 5, 2), (19, 2000, 3)] {
            model.restarted = None;
            model.take(look(began, second, requests, started), NOW);
            assert_eq!(model.last().rate(model.last().more.requests()), 0.0);
            assert!(model.restarted.is_some() && model.lost.is_none());
        }
        model.take(look(began, 20, 2010, 3), NOW);
        assert_eq!(model.last().more.requests(), 10.0);
        assert_eq!(model.chart, [0, 1000, 0, 0, 0, 100]);
    }

    #[test]
    fn records_fill_the_tables_until_they_are_reset() {
        let mut model = Model::new(NOW);
        let lines = || {
            [
                r#"{"kind":"exchange","client":"a","method":"GET","path":"/x","status":200}"#,
                r#"{"kind":"exchange","client":"a","method":"GET","path":"/y","status":500}"#,
                r#"{"kind":"handshake","client":"b","reason":"no_sni"}"#,
                r#"{"kind":"missed","missed":7}"#,
            ]
            .map(|line| record::read(line.as_bytes()))
            .to_vec()
        };
        model.take(News::Earlier(lines()), NOW);
        assert_eq!(model.errors.iter().len(), 2);
        assert!(model.paths.ranked(Default::default()).is_empty());
        model.take(News::Lines(lines()), NOW);
        assert_eq!(model.paths.ranked(Default::default()).len(), 2);
        assert_eq!(model.clients.ranked(Default::default()).len(), 2);
        assert_eq!((model.errors.iter().len(), model.missed), (2, 7));
        model.take(News::Stream(Some("too many".to_owned())), NOW);
        model.reset(NOW);
        assert_eq!((model.errors.iter().len(), model.missed), (0, 0));
        assert!(model.paths.ranked(Default::default()).is_empty());
        assert!(model.no_records.is_some());
    }

    #[test]
    fn how_long_it_is_gone_is_counted_from_the_beginning() {
        let mut model = Model::new(NOW);
        let later = NOW + Duration::from_secs(5);
        model.take(News::Lost("a".to_owned()), NOW);
        model.take(News::Lost("b".to_owned()), later);
        assert_eq!(model.lost, Some((NOW, "b".to_owned())));
    }
}
