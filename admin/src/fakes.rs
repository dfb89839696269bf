//! What the tests of this room are given instead of a house.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::condition::IfMatch;
use crate::guard::{Access, Audit, Caller, Tokens};
use crate::handles::{
    AppHealth, Certificates, Configuration, Handles, Inflight, Lifecycle, LogLevel, Metrics,
    MetricsFormat, Passage, Records, Targets, Waiting,
};
use crate::views::{
    AppTrouble, AppView, AttemptView, CertificatesView, ConfigView, InflightEntry, InflightView,
    LogLevelView, PhaseView, Refusal, StatusView, TargetChange, TargetView,
};

/// A ring of records; their places are 1, 2, 3 and so on.
#[derive(Debug)]
pub(crate) struct History {
    size: usize,
    ring: Mutex<(u64, VecDeque<Arc<[u8]>>)>,
}

impl History {
    pub(crate) fn of(size: usize) -> Arc<Self> {
        let ring = Mutex::default();
        Arc::new(Self { size, ring })
    }

    pub(crate) fn push(&self, line: &str) {
        let mut ring = self.ring.lock().unwrap();
        ring.0 += 1;
        ring.1.push_back(Arc::from(line.as_bytes()));
        if ring.1.len() > self.size {
            ring.1.pop_front();
        }
    }

    /// Exchanges with the ids of these numbers.
    pub(crate) fn push_exchanges(&self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            self.push(&exchange(number));
        }
    }
}

impl Records for History {
    fn settle(&self) -> Waiting<'_, ()> {
        Box::pin(async {})
    }

    fn recent(&self) -> Vec<Arc<[u8]>> {
        self.ring.lock().unwrap().1.iter().rev().cloned().collect()
    }

    fn after(&self, place: u64, most: usize) -> Passage {
        let ring = self.ring.lock().unwrap();
        let pushed_out = ring.0 - ring.1.len() as u64;
        let seen = place.saturating_sub(pushed_out) as usize;
        let lines: Vec<_> = ring.1.iter().skip(seen).take(most).cloned().collect();
        Passage {
            place: place.max(pushed_out) + lines.len() as u64,
            missed: pushed_out.saturating_sub(place),
            lines,
        }
    }

    fn newest(&self) -> u64 {
        self.ring.lock().unwrap().0
    }

    fn place_of(&self, id: &str) -> Option<u64> {
        let ring = self.ring.lock().unwrap();
        let pushed_out = ring.0 - ring.1.len() as u64;
        let wanted = format!("\"id\":\"{id}\"");
        let is_it = |line: &Arc<[u8]>| String::from_utf8_lossy(line).contains(&wanted);
        let at = ring.1.iter().position(is_it)?;
        Some(pushed_out + at as u64 + 1)
    }
}

pub(crate) fn id(number: u64) -> String {
    format!("01993c00-0000-7000-8000-{number:012}")
}

/// A line of some 500 bytes, as they usually are.
pub(crate) fn exchange(number: u64) -> String {
    format!(
        r#"{{"kind":"exchange","id":"{}","time":"2026-11-23T10:00:00.000000Z","method":"GET","path":"/{number}","status":200,"reason":"","user_agent":"{:a<300}"}}"#,
        id(number),
        ""
    )
}

/// Everything else that the two planes can ask.
struct House;

pub(crate) fn handles(records: Arc<dyn Records>) -> Handles {
    Handles {
        lifecycle: Arc::new(House),
        records,
        inflight: Arc::new(House),
        targets: Arc::new(House),
        certificates: Arc::new(House),
        metrics: Arc::new(House),
        configuration: Arc::new(House),
        log_level: Arc::new(House),
        app: Arc::new(App(None)),
    }
}

/// What an application answers; none where none is to be asked.
pub(crate) struct App(pub(crate) Option<Result<AppView, AppTrouble>>);

impl AppHealth for App {
    fn health(&self) -> Waiting<'_, Option<Result<AppView, AppTrouble>>> {
        Box::pin(async { self.0.clone() })
    }
}

/// A door that is open to everybody.
pub(crate) fn access() -> Arc<Access> {
    Access::new(None, Vec::new(), Arc::new(House))
}

/// A door that opens for this token.
pub(crate) fn access_with(token: &str) -> Arc<Access> {
    Access::new(Tokens::parse(token).ok(), Vec::new(), Arc::new(House))
}

impl Audit for House {
    fn refused(&self, _who: &str, _reason: &'static str, _detail: &str) {}
}

impl Configuration for House {
    fn view(&self) -> ConfigView {
        unreachable!("no test here asks for it")
    }
}

impl LogLevel for House {
    fn current(&self) -> LogLevelView {
        unreachable!("no test here asks for it")
    }

    fn set(&self, _filter: &str, _caller: &Caller) -> Result<LogLevelView, Refusal> {
        unreachable!("no test here asks for it")
    }
}

impl Lifecycle for House {
    fn pending(&self) -> Vec<String> {
        Vec::new()
    }

    fn status(&self) -> StatusView {
        unreachable!("no test here asks for it")
    }

    fn drain(&self, _caller: &Caller) -> PhaseView {
        unreachable!("no test here asks for it")
    }
}

impl Inflight for House {
    fn open(&self, _most: usize) -> Waiting<'_, InflightView> {
        let entry = |id: &str, kind, method: Option<&str>| InflightEntry {
            id: id.to_owned(),
            kind,
            age_ms: 12,
            client: "192.0.2.1".to_owned(),
            client_id: None,
            method: method.map(str::to_owned),
            host: None,
            path: None,
            http: Some("1.1"),
            waiting_for: "upstream",
            bytes_in: 3,
        };
        Box::pin(async move {
            InflightView {
                total: 2,
                workers_asked: 2,
                workers_answered: 1,
                entries: vec![
                    entry("older", "tunnel", None),
                    entry("newer", "exchange", Some("GET")),
                ],
            }
        })
    }
}

impl Targets for House {
    fn current(&self) -> TargetView {
        unreachable!("no test here asks for it")
    }

    fn change<'a>(
        &'a self,
        _change: TargetChange,
        _expected: IfMatch,
        _caller: &'a Caller,
    ) -> Waiting<'a, Result<TargetView, Refusal>> {
        unreachable!("no test here asks for it")
    }

    fn confirm(&self, _expected: &IfMatch, _caller: &Caller) -> Result<TargetView, Refusal> {
        unreachable!("no test here asks for it")
    }

    fn revert(&self, _expected: &IfMatch, _caller: &Caller) -> Result<TargetView, Refusal> {
        unreachable!("no test here asks for it")
    }
}

impl Certificates for House {
    fn view(&self) -> CertificatesView {
        unreachable!("no test here asks for it")
    }

    fn reload<'a>(&'a self, _caller: &'a Caller) -> Waiting<'a, Vec<AttemptView>> {
        unreachable!("no test here asks for it")
    }
}

impl Metrics for House {
    fn render(&self, format: MetricsFormat) -> String {
        format!("{format:?}")
    }
}
